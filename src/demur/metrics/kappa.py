"""How far two labellers agree beyond chance."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.metrics.ranking import Floats, Value, ratio


def kappa(first: ArrayLike, second: ArrayLike, weights: Floats | None = None) -> Value:
    """(pₒ − pₑ) / (1 − pₑ): 1 for the same labels, 0 for agreement by chance; NaN where one class is all there is.

    pₒ is the share of equal labels, pₑ what it would be if each labeller kept their shares of classes and guessed.
    Cohen (1960), "A coefficient of agreement for nominal scales".

    >>> kappa([0, 0, 1, 1], [0, 0, 1, 0])
    0.5
    """
    one, other = np.asarray(first), np.asarray(second)
    own = np.ones((1, len(one))) if weights is None else np.atleast_2d(weights)
    total = own.sum(axis=1)
    observed = ratio(own @ (one == other), total)
    size = int(max(one.max(initial=0), other.max(initial=0))) + 1
    expected = (_shares(one, own, size) * _shares(other, own, size)).sum(axis=1)
    found = ratio(observed - expected, 1 - expected)
    return float(found[0]) if weights is None or weights.ndim == 1 else found


def _shares(labels: NDArray[Any], weights: Floats, size: int) -> Floats:
    """The weighted share of each class, (replicates, classes)."""
    counts = weights @ np.eye(size)[labels]
    return ratio(counts, weights.sum(axis=1, keepdims=True))
