"""Chances in words."""

import math


def by_chance(p_value: float) -> str:
    """How often luck alone would do as much.

    >>> by_chance(0.0312), by_chance(0.45123), by_chance(0.00002), by_chance(float("nan"))
    ('p = 0.031', 'p = 0.45', 'p < 0.001', '—')
    """
    if math.isnan(p_value):
        return "—"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}" if p_value < 0.1 else f"p = {p_value:.2f}"
