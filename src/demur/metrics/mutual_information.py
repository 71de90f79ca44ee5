"""Mutual information between columns of numbers."""

import numpy as np
from numpy.typing import NDArray

_ROWS_A_CELL = 10


def mutual_information(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much any two columns tell of each other, (columns, columns), in nats; 0 where they are independent.

    Each column is cut into b bins of equally many rows, equal values together, b the root of a tenth of the rows and 16
    at most; bins lose a little. The estimate is the plug-in one, Σ p ln(p/(p_i p_j)), less its bias: (cells − rows −
    columns + 1)/2n, of those that are not empty. The diagonal is the entropy of a column in its bins.

    Miller (1955), "Note on the bias of information estimates".

    Args:
        columns: (rows, columns), finite.
    """
    rows, width = columns.shape
    bins = int(np.clip(np.sqrt(rows / _ROWS_A_CELL), 2, 16))
    places = [_places(columns[:, k], bins) for k in range(width)]
    found = np.zeros((width, width))
    for i in range(width):
        for j in range(i, width):
            found[i, j] = found[j, i] = _information(places[i], places[j])
    return found


def _places(values: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    cuts = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    return np.searchsorted(cuts, values, side="right")


def _information(left: NDArray[np.intp], right: NDArray[np.intp]) -> float:
    counts = np.zeros((int(left.max()) + 1, int(right.max()) + 1))
    np.add.at(counts, (left, right), 1)
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    n, full = counts.sum(), counts > 0
    expected = rows[:, None] * columns[None, :] / n
    plain = float((counts[full] * np.log(counts[full] / expected[full])).sum() / n)
    if (left == right).all():
        return plain
    excess = int(full.sum()) - int((rows > 0).sum()) - int((columns > 0).sum()) + 1
    return max(plain - excess / (2 * n), 0.0)
