"""Grids of maps: their cells as numbers, and the mean over the cells of a coarser grid."""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from demur.shapes import Scores

Cells: TypeAlias = NDArray[np.float64]
"""Numbers of cells (rows, cells), or of whole maps (rows,); on the CPU, where NumPy sums a row as if it were alone."""

BLOCK = 16
"""Maps that are measured at a time, so that what lies between stays small."""


def cells(heat: Float[Tensor, "rows tall wide"] | Bool[Tensor, "rows tall wide"]) -> Cells:
    """One number per cell, line after line: (rows, cells)."""
    return heat.detach().cpu().double().flatten(1).contiguous().numpy()


def averaged(heat: Float[Tensor, "rows tall wide"] | Bool[Tensor, "rows tall wide"], size: tuple[int, int]) -> Cells:
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
