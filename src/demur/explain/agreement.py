"""How alike two maps of the same images are."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from demur.explain.grids import BLOCK, Cells, among, averaged
from demur.explain.hottest import hottest
from demur.shapes import Heat, Scores

_TOP = 0.2
"""The share of the cells that `overlap` compares."""


def agreement(one: Heat, other: Float[Tensor, "rows tall wide"]) -> tuple[Scores, Scores]:
    """Rank correlation of the cells, −1 to 1, and overlap of the hottest fifths, 0 to 1; high when maps agree.

    On the coarser grid: the finer map counts by its means over the coarser one's cells. NaN where a map is zero
    everywhere, and the correlation also where one is flat.
    """
    pairs = zip(torch.split(one, BLOCK), torch.split(other, BLOCK), strict=True)
    correlations, overlaps = zip(*(_agreement(*pair) for pair in pairs), strict=True)
    return torch.cat(correlations), torch.cat(overlaps)


def _agreement(one: Heat, other: Float[Tensor, "rows tall wide"]) -> tuple[Scores, Scores]:
    size = (min(one.shape[1], other.shape[1]), min(one.shape[2], other.shape[2]))
    first, second = (averaged(heat, size) for heat in (one, other))
    lit = (first.sum(axis=1) > 0) & (second.sum(axis=1) > 0)
    first, second = first[lit], second[lit]
    return among(lit, spearman(first, second)), among(lit, overlap(first, second))


def spearman(one: Cells, other: Cells) -> Cells:
    """Correlation of ranks, ties at their mean: 1 when cells are in the same order; NaN where a map is flat."""
    first, second = (rankdata(mass, axis=1) - (mass.shape[1] + 1) / 2 for mass in (one, other))
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return np.divide((first * second).sum(axis=1), scale, out=np.full(len(one), np.nan), where=scale > 0)


def overlap(one: Cells, other: Cells) -> Cells:
    """Area in both over area in either, of the hottest fifth of the cells of each; level cells belong to it in part."""
    area = np.full(len(one), _TOP * one.shape[1])
    first, second = hottest(one, area), hottest(other, area)
    return np.minimum(first, second).sum(axis=1) / np.maximum(first, second).sum(axis=1)
