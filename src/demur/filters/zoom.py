"""Zoom."""

import math
from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import add

import numpy as np
from scipy.sparse import csr_array, kron

from demur.filters.mixed import mixed
from demur.shapes import Images


def zoom(x: Images, factors: Sequence[float]) -> Images:
    """The mean of the middles of the images enlarged by each factor ≥ 1 to the whole.

    Enlarging is bilinear between the centres of the pixels in the corners.
    """
    return mixed(x, _mean(*x.shape[2:], tuple(factors)))


@lru_cache(maxsize=8)
def _mean(height: int, width: int, factors: tuple[float, ...]) -> csr_array:
    views = [kron(_enlarged(height, factor), _enlarged(width, factor), format="csr") for factor in factors]
    return (reduce(add, views) / len(views)).astype(np.float32)


def _enlarged(side: int, factor: float) -> csr_array:
    """Which share of each of `side` pixels in a line goes into each of them when the middle is enlarged."""
    middle = math.ceil(side / factor)
    larger = round(middle * factor)
    seen = np.arange(side) + (larger - side) // 2
    places = seen * (middle - 1) / max(larger - 1, 1)
    near = places.astype(np.int64)
    beyond = np.minimum(near + 1, middle - 1)
    columns = np.r_[near, beyond] + (side - middle) // 2
    shares = np.r_[near + 1 - places, places - near]
    return csr_array((shares, (np.tile(np.arange(side), 2), columns)), shape=(side, side))
