"""Filters by sampling: resizing, zoom, sums by a sparse table of weights."""

import math
from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import add
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array, kron
from torch import Tensor
from torch.nn.functional import embedding_bag, grid_sample, interpolate, pad

from demur.shapes import Images

_LANES = 16
_TOGETHER = 48


def mixed(x: Images, shares: csr_array) -> Images:
    """Each pixel becomes the sum of pixels weighted by its row of `shares`; pixels are counted row by row.

    Every plane of every image is mixed alike, so planes lie side by side in memory, as many as suit the processor's
    caches; their number is filled up to whole vectors so that none is rounded otherwise than its neighbour.
    """
    planes = x.flatten(0, 1).flatten(1)
    out = torch.empty_like(planes)
    for first in range(0, len(planes), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        out[some] = _planes(planes[some], shares)
    return out.view(x.shape)


def _planes(planes: Float[Tensor, "some before"], shares: csr_array) -> Float[Tensor, "some after"]:
    side_by_side = pad(planes.T, (0, -len(planes) % _LANES)).contiguous()
    places, begins, weights = (torch.from_numpy(part) for part in (shares.indices, shares.indptr, shares.data))
    found = embedding_bag(
        places.to(planes.device),
        side_by_side,
        begins.to(planes.device),
        mode="sum",
        per_sample_weights=weights.to(planes),
        include_last_offset=True,
    )
    return found[:, : len(planes)].T


def resample(x: Images, scale: float = 0.5) -> Images:
    """The images made smaller by `scale` and as large as before again, both bilinear, shrunk with antialiasing."""
    height, width = x.shape[2:]
    small = (max(1, round(height * scale)), max(1, round(width * scale)))
    return resize(resize(x, small), (height, width))


def resize(x: Images, size: tuple[int, int]) -> Images:
    """Bilinear resizing to (height, width), antialiased where it shrinks, as Pillow's `BILINEAR`."""
    return interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)


_PADDING = {"nearest": "border", "reflect": "reflection", "mirror": "reflection"}


def sample(
    x: Images,
    down: Float[Tensor, "rows tall wide"],
    right: Float[Tensor, "rows tall wide"],
    edges: Literal["nearest", "reflect", "mirror"],
) -> Images:
    """Bilinear values at the places (`down`, `right`), in pixels from the centre of the first one."""
    height, width = x.shape[2:]
    corners = edges != "reflect"
    grid = x.new_empty((*down.shape, 2))
    for axis, (places, side) in enumerate([(right, width), (down, height)]):
        if corners:
            begin, scale = -1.0, 2 / max(side - 1, 1)
        else:
            begin, scale = 1 / side - 1, 2 / side
        torch.add(x.new_tensor(begin), places.to(x), alpha=scale, out=grid[..., axis])
    return grid_sample(x, grid, mode="bilinear", padding_mode=_PADDING[edges], align_corners=corners)


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
