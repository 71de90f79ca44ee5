"""What the figures show that no other table holds, each of a bounded size."""
