"""Places of classes, for those with enough images to have one."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from demur.metrics.quantile import FEWEST


def ranks(values: Sequence[float], counts: Sequence[int], *, largest: bool = False) -> list[int | None]:
    """Each class's place by its value, 1 for the smallest, or the largest; ties share the better place.

    None for classes of fewer than six units, for whom there is no 95 % interval, and for undefined values.

    >>> ranks([0.2, 0.1, 0.1, 0.0], [9, 9, 9, 5])
    [3, 1, 1, None]
    """
    told = np.array([n >= FEWEST and not np.isnan(value) for value, n in zip(values, counts, strict=True)], bool)
    signed = np.asarray(values, np.float64) * (-1 if largest else 1)
    places = np.zeros(len(told), np.intp)
    places[told] = rankdata(signed[told], method="min")
    return [int(place) or None for place in places]
