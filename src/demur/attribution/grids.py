"""Grids of maps, and baseline maps (uniform, centred, shuffled)."""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from demur.randomness import Keys
from demur.shapes import Heat, Scores

Cells: TypeAlias = NDArray[np.float64]
"""Numbers of cells (rows, cells), or of whole maps (rows,); on the CPU, where NumPy sums a row as if it were alone."""

BLOCK = 16
"""Maps that are measured at a time, so that what lies between stays small."""


def cells(heat: Float[Tensor, "rows tall wide"] | Bool[Tensor, "rows tall wide"]) -> Cells:
    """One number per cell, line after line: (rows, cells)."""
    return heat.detach().cpu().double().flatten(1).contiguous().numpy()


def cell_means(heat: Float[Tensor, "rows tall wide"] | Bool[Tensor, "rows tall wide"], size: tuple[int, int]) -> Cells:
    """The mean of a map over each cell of a grid of `size`, those partly in it counted in part: (rows, cells).

    The grids cover the same image. Values times whole numbers are summed and divided once, so that a mask becomes
    exactly the share of each cell that it covers, and equal means of single precision stay ties.
    """
    _, height, width = heat.shape
    if (height, width) == size:
        return cells(heat)
    down, across = _overlaps(height, size[0]), _overlaps(width, size[1])
    whole = down @ heat.detach().cpu().double().numpy() @ across.T
    return whole.reshape(len(heat), size[0] * size[1]) / (height * width)


def among(defined: NDArray[np.bool_], values: Cells) -> Scores:
    """The values of the rows where there is one, NaN elsewhere."""
    out = np.full(len(defined), np.nan)
    out[defined] = values
    return torch.from_numpy(out)


def _overlaps(before: int, after: int) -> Cells:
    """How much of each of `before` cells lies in each of `after`, both filling one line of before · after units."""
    old, new = np.arange(before + 1) * after, np.arange(after + 1) * before
    ends = np.minimum(new[1:, None], old[None, 1:])
    starts = np.maximum(new[:-1, None], old[None, :-1])
    return np.maximum(ends - starts, 0).astype(np.float64)


_WIDTH = 0.25


def baselines(heat: Heat, keys: Keys) -> dict[str, Heat]:
    """For each map three on its grid that know nothing of the image: `uniform`, `centred`, `shuffled`.

    All cells alike; a normal density about the middle, its deviation a quarter of the side either way; the map's own
    cells in an order drawn by the row's key.
    """
    drawn = keys.uniform(heat.cpu(), "shuffled").flatten(1).numpy()
    order = torch.from_numpy(drawn.argsort(axis=1, kind="stable")).to(heat.device)
    return {
        "uniform": torch.ones_like(heat),
        "centred": centred_map(heat),
        "shuffled": heat.flatten(1).gather(1, order).view(heat.shape),
    }


def centred_map(heat: Heat) -> Heat:
    """A normal density about the middle of each map's grid."""
    _, height, width = heat.shape
    return (_bell(height)[:, None] * _bell(width)).to(heat).expand_as(heat)


def _bell(side: int) -> torch.Tensor:
    places = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) / (_WIDTH * side)
    return (-0.5 * places.square()).exp()
