"""Attacks on a classifier that abstains: its answer must be wrong and be given all the same."""
