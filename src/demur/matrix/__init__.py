"""Models × attacks × detectors: one audit for each model, one cell for each combination, one table."""
