"""What every attack shares: harness, state, best points, objective, projections, losses, line search."""
