"""Attacks, minimal perturbations and Lipschitz bounds as tables."""
