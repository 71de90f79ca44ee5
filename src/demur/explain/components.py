"""Pieces of a region of a map."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from demur.explain.grids import Cells

_TOUCHING = np.ones((3, 3), dtype=bool)


def components(shares: Cells, region: NDArray[np.bool_]) -> tuple[Cells, Cells]:
    """How many pieces a region (rows, height, width) has, and which share of its mass the heaviest holds.

    Cells that touch at a side or a corner are of one piece: on grids of 4 × 4 an oblique object has only corners to
    hold it together.
    """
    found = [_pieces(*row) for row in zip(shares, region, strict=True)]
    number, largest = np.array(found, dtype=np.float64).reshape(-1, 2).T
    return number, largest


def _pieces(shares: Cells, region: NDArray[np.bool_]) -> tuple[int, float]:
    places, number = label(region, _TOUCHING)
    masses = np.bincount(places.ravel(), shares.ravel())[1:]
    return number, masses.max() / masses.sum()
