"""What else is known of the rows, as columns of the record."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from demur.data import Index
from demur.records import META, SECOND, WEIGHT


def known(index: Index, rows: NDArray[np.int64]) -> dict[str, list[object]]:
    """Second labels, label weights and meta columns of some index rows; only those the data set has."""
    columns: dict[str, list[object]] = {
        f"{META}{name}": [_text(values[row]) for row in rows] for name, values in sorted(index.meta.items())
    }
    for name, values in ((SECOND, index.labels2), (WEIGHT, index.weights)):
        if _has(values):
            columns[name] = [values[row] for row in rows]
    return columns


def _has(values: Sequence[object]) -> bool:
    return any(value is not None for value in values)


def _text(value: str | float | None) -> str | None:
    return f"{value:.15g}" if isinstance(value, float) else value
