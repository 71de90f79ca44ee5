"""How many independent images a grouped sample is worth."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit


def effective_size(flags: ArrayLike, groups: NDArray[Any]) -> float:
    """The number of independent images that would leave as much to chance: high when images of a group differ.

    n over the design effect, from the spread of whole groups about the share seen, corrected for few groups by
    Student's t; never more than n. Where all images agree it is the number of groups, for nothing is known of the
    design. Korn & Graubard (1998), "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data".
    """
    rows = np.asarray(flags, np.float64)
    codes = np.unique(groups, return_inverse=True)[1]
    n, units = len(rows), int(codes.max(initial=-1)) + 1
    share = float(rows.mean()) if n else 0.0
    if units < 2 or share in {0.0, 1.0}:
        return units
    totals = np.bincount(codes, weights=rows - share)
    variance = units / (units - 1) * float((totals**2).sum()) / n**2
    effective = share * (1 - share) / variance if variance > 0 else float(units)
    few = (stdtrit(n - 1, 0.975) / stdtrit(units - 1, 0.975)) ** 2
    return min(float(n), effective * float(few))
