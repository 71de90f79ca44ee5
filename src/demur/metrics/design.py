"""How many independent images a grouped sample is worth."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit


def effective_size(values: ArrayLike, groups: NDArray[Any]) -> float:
    """The number of independent images that would leave as much to chance: high when images of a group differ.

    n over the design effect of the mean of flags or signs, from the spread of whole groups about it, corrected for few
    groups by Student's t; never more than n. Where all images agree it is the number of groups, for nothing is known of
    the design. Korn & Graubard (1998), "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data".
    """
    rows = np.asarray(values, np.float64)
    codes = np.unique(groups, return_inverse=True)[1]
    n, units = len(rows), int(codes.max(initial=-1)) + 1
    mean = float(rows.mean()) if n else 0.0
    spread = float(np.square(rows).sum()) / n - mean**2 if n else 0.0
    if units < 2 or (rows == mean).all():
        return units
    totals = np.bincount(codes, weights=rows - mean)
    variance = units / (units - 1) * float((totals**2).sum()) / n**2
    effective = spread / variance if variance > 0 else float(units)
    few = (stdtrit(n - 1, 0.975) / stdtrit(units - 1, 0.975)) ** 2
    return min(float(n), effective * float(few))
