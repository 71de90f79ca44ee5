"""How well a map meets a marked object."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxtyping import Bool
from torch import Tensor

from demur.explain.grids import Cells, among, averaged, cells
from demur.explain.hottest import hottest
from demur.explain.measures import Measured
from demur.shapes import Heat, Scores

OBJECT = 0.2
"""Cells this hot, as a share of the hottest, or hotter count as the object. Zhou et al. (2016), arXiv:1512.04150."""

LOCALISATIONS: Mapping[str, Measured] = MappingProxyType(
    {
        "pointing": Measured("chance that a point of the hottest cell lies in the marked object", -1),
        "energy": Measured("share of the map's mass that lies in the marked object", -1),
        "iou": Measured("overlap of the marked object and the cells with a fifth of the maximum or more", -1),
        "rank_accuracy": Measured("share of the marked object met by as large an area of the hottest cells", -1),
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
    mass, inside = cells(heat), averaged(mask, (heat.shape[1], heat.shape[2]))
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
