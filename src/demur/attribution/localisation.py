"""How well a map meets a marked object or another map, and what is recorded of it."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from torch import Tensor

from demur.attribution.compactness import Measure, compactness, hottest
from demur.attribution.grids import BLOCK, Cells, among, baselines, cell_means, cells
from demur.randomness import Keys
from demur.records import EXPLAIN
from demur.shapes import Flags, Heat, Scores

OBJECT = 0.2
"""Cells this hot, as a share of the hottest, or hotter count as the object. Zhou et al. (2016), arXiv:1512.04150."""

LOCALISATIONS: Mapping[str, Measure] = MappingProxyType(
    {
        "pointing": Measure("chance that a point of the hottest cell lies in the marked object", -1),
        "energy": Measure("share of the map's mass that lies in the marked object", -1),
        "iou": Measure("overlap of the marked object and the cells with a fifth of the maximum or more", -1),
        "rank_accuracy": Measure("share of the marked object met by as large an area of the hottest cells", -1),
    }
)
"""Every measure of place, by name; a uniform map gets the share of pixels that is marked in each."""


def localisation(heat: Heat, mask: Bool[Tensor, "rows tall wide"]) -> dict[str, Scores]:
    """Every measure of `LOCALISATIONS`, and `covered`: the share of pixels that is marked.

    A map has one value all over each of its cells. A cell that the mask covers in part therefore counts in part, and
    areas are exact whatever the grids; where the map has a cell per pixel, all is as published. NaN where the map is
    zero everywhere or nothing is marked.

    Args:
        heat: on its own grid.
        mask: true on the object, at any size; mask and map cover the same image.
    """
    mass, inside = cells(heat), cell_means(mask, (heat.shape[1], heat.shape[2]))
    defined = (mass.sum(axis=1) > 0) & (inside.sum(axis=1) > 0)
    mass, inside = mass[defined], inside[defined]
    found = {
        "pointing": pointing(mass, inside),
        "energy": energy(mass, inside),
        "iou": iou(mass, inside),
        "rank_accuracy": rank_accuracy(mass, inside),
        "covered": inside.mean(axis=1),
    }
    return {name: among(defined, values) for name, values in found.items()}


def pointing(mass: Cells, inside: Cells) -> Cells:
    """The share of the hottest cell that is marked, of cells equally hot their mean: 1[argmax a ∈ M] per pixel.

    Zhang et al. (2018), arXiv:1608.00507, without their tolerance of 15 pixels.
    """
    top = mass == mass.max(axis=1, keepdims=True, initial=0)
    return (top * inside).sum(axis=1) / top.sum(axis=1)


def energy(mass: Cells, inside: Cells) -> Cells:
    """Σ_M a/Σa, the mass that lies in the object.

    Wang et al. (2020), arXiv:1910.01279; as relevance mass accuracy Arras et al. (2022), arXiv:2003.07258.
    """
    return (mass * inside).sum(axis=1) / mass.sum(axis=1)


def iou(mass: Cells, inside: Cells) -> Cells:
    """Area in both over area in either, of the object and the cells with a fifth of the maximum or more."""
    region = mass >= OBJECT * mass.max(axis=1, keepdims=True, initial=0)
    both = (region * inside).sum(axis=1)
    return both / (region.sum(axis=1) + inside.sum(axis=1) - both)


def rank_accuracy(mass: Cells, inside: Cells) -> Cells:
    """The hottest cells, as large together as the object M: the share of their area that lies in it.

    Arras et al. (2022), arXiv:2003.07258.
    """
    marked = inside.sum(axis=1)
    return (hottest(mass, marked) * inside).sum(axis=1) / marked


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
    first, second = (cell_means(heat, size) for heat in (one, other))
    lit = (first.sum(axis=1) > 0) & (second.sum(axis=1) > 0)
    first, second = first[lit], second[lit]
    return among(lit, map_spearman(first, second)), among(lit, map_overlap(first, second))


def map_spearman(one: Cells, other: Cells) -> Cells:
    """Correlation of ranks, ties at their mean: 1 when cells are in the same order; NaN where a map is flat."""
    first, second = (rankdata(mass, axis=1) - (mass.shape[1] + 1) / 2 for mass in (one, other))
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return np.divide((first * second).sum(axis=1), scale, out=np.full(len(one), np.nan), where=scale > 0)


def map_overlap(one: Cells, other: Cells) -> Cells:
    """Area in both over area in either, of the hottest fifth of the cells of each; level cells belong to it in part."""
    area = np.full(len(one), _TOP * one.shape[1])
    first, second = hottest(one, area), hottest(other, area)
    return np.minimum(first, second).sum(axis=1) / np.maximum(first, second).sum(axis=1)


def map_columns(
    heat: Heat, mask: Bool[Tensor, "rows tall wide"] | None, marked: Flags, keys: Keys
) -> dict[str, Scores]:
    """The columns `explain.…` of a kind of map, single precision, NaN where a value is not defined.

    A map that is zero everywhere has `explain.empty` 1 and no measures, those of its baselines included, so that
    either are told of the same images.

    Args:
        heat: maps on their own grid.
        mask: true on the objects, at image size; None where the data marks none, and then there are no columns of
            place.
        marked: which rows have a mark.
        keys: of the rows, for the shuffled baseline.
    """
    blocks = []
    for rows in torch.split(torch.arange(len(heat)), BLOCK):
        marks = None if mask is None else mask[rows]
        blocks.append(_columns(heat[rows], marks, marked[rows], keys.rows(rows.tolist())))
    return {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}


def agreement_columns(heat: Heat, other: Heat, name: str) -> dict[str, Scores]:
    """The columns on how alike a map and another one, of this name, are; NaN where that is not defined."""
    alike, shared = agreement(heat, other)
    return {f"{EXPLAIN}agreement.{name}": alike, f"{EXPLAIN}overlap.{name}": shared}


def _columns(heat: Heat, mask: Bool[Tensor, "rows tall wide"] | None, marked: Flags, keys: Keys) -> dict[str, Scores]:
    empty = ~heat.flatten(1).any(dim=1).cpu()
    columns = _measures(heat, mask, marked)
    for name, known in baselines(heat, keys).items():
        found = _measures(known, mask, marked)
        columns |= {f"{name}.{measure}": values.where(~empty, torch.nan) for measure, values in found.items()}
    rows, height, width = heat.shape
    columns |= {"empty": empty, "height": torch.full((rows,), height), "width": torch.full((rows,), width)}
    return {f"{EXPLAIN}{name}": values.float() for name, values in columns.items()}


def _measures(heat: Heat, mask: Bool[Tensor, "rows tall wide"] | None, marked: Flags) -> dict[str, Tensor]:
    found: dict[str, Tensor] = dict(compactness(heat))
    if mask is not None:
        place = localisation(heat, mask)
        found |= {name: values.where(marked.cpu(), torch.nan) for name, values in place.items()}
    return found
