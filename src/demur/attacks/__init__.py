"""Attacks: two steps on rows, `start` and `advance`; the harness owns the loop and distrusts the attack."""
