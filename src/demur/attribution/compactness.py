"""How compact an attribution map is."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.special import entr

from demur.attribution.grids import Cells, among, cells
from demur.shapes import Heat, Scores

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


_SLACK = 1e-9
"""Of a share: sums of 50,000 cells are rounded, and half of a uniform map must be half of its cells."""


class Measure(NamedTuple):
    """What a measure says, and its sign as an uncertainty score: +1 where high is uncertain, −1 where low is."""

    sentence: str
    uncertainty: Literal[-1, 1]


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "area_50": Measure("smallest share of the cells that holds half of the map's mass", 1),
        "area_90": Measure("smallest share of the cells that holds nine tenths of the map's mass", 1),
        "gini": Measure("Gini index of the cells: 0 when all are alike, towards 1 when one holds everything", -1),
        "entropy": Measure("entropy of the map over that of a uniform one: 0 when one cell holds everything", 1),
        "dispersion": Measure("spread of the map about its centre of mass: 0 in one cell, 1 when uniform", 1),
        "components": Measure("pieces of the smallest region that holds half of the map's mass", 1),
        "largest_component": Measure("share of that region's mass in its heaviest piece", -1),
    }
)
"""Every measure of compactness, by name."""


def compactness(heat: Heat) -> dict[str, Scores]:
    """Every measure of `MEASURES` for each map on its own grid; NaN for a map that is zero everywhere.

    A map counts by p = a/Σa, so its scale does not matter. Float64, on the CPU.
    """
    mass = cells(heat)
    total = mass.sum(axis=1)
    lit = total > 0
    measures = _measures(mass[lit] / total[lit, None], (heat.shape[1], heat.shape[2]))
    return {name: among(lit, values) for name, values in measures.items()}


def _measures(shares: Cells, size: tuple[int, int]) -> dict[str, Cells]:
    ranked = np.sort(shares, axis=1)[:, ::-1]
    half = cells_needed(ranked, 0.5)
    region = shares >= np.take_along_axis(ranked, half[:, None] - 1, axis=1)
    number, largest = components(shares.reshape(-1, *size), region.reshape(-1, *size))
    return {
        "area_50": half / shares.shape[1],
        "area_90": cells_needed(ranked, 0.9) / shares.shape[1],
        "gini": gini(ranked),
        "entropy": map_entropy(shares),
        "dispersion": dispersion(shares.reshape(-1, *size)),
        "components": number,
        "largest_component": largest,
    }


def cells_needed(ranked: Cells, held: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How many of the hottest cells it takes to hold a share of the mass: whole cells, (rows,).

    Args:
        ranked: shares of mass (rows, cells), the largest first.
        held: the share to hold.
    """
    return (ranked.cumsum(axis=1) >= held * (1 - _SLACK)).argmax(axis=1) + 1


def gini(ranked: Cells) -> Cells:
    """Gini index Σᵢ(2i − n − 1)p₍ᵢ₎/n, p ascending: 0 when all cells are alike, 1 − 1/n when one holds everything.

    `ranked` has the largest first. Chalasani et al. (2020), arXiv:1810.06583; Hurley & Rickard (2009), arXiv:0811.4706.
    """
    count = ranked.shape[1]
    return (ranked * (count - 1 - 2 * np.arange(count))).sum(axis=1) / count


def map_entropy(shares: Cells) -> Cells:
    """Entropy −Σp ln p over ln n: 0 when one cell holds everything, 1 when all are alike; NaN for a grid of one cell.

    Bhatt et al. (2020), arXiv:2005.00631.
    """
    return entr(shares).sum(axis=1) / (math.log(shares.shape[1]) or math.nan)


def dispersion(shares: Cells) -> Cells:
    """Σp‖u − ū‖² over that of a uniform map: 0 in one cell, 1 when uniform, up to 3 in opposite corners.

    Cells lie at whole numbers u, of which h in a line have the variance (h² − 1)/12. NaN for a grid of one cell.
    """
    height, width = shares.shape[1:]
    spread = _variance(shares.sum(axis=2)) + _variance(shares.sum(axis=1))
    return spread / ((height**2 + width**2 - 2) / 12 or math.nan)


def _variance(shares: Cells) -> Cells:
    """Of the place in a line, for shares (rows, side) of mass."""
    places = np.arange(shares.shape[1])
    centre = (shares * places).sum(axis=1, keepdims=True)
    return (shares * (places - centre) ** 2).sum(axis=1)


def hottest(mass: Cells, area: Cells) -> Cells:
    """Which share of each cell belongs to the `area` hottest cells (rows,) of its row: (rows, cells).

    Hotter cells go first and belong to it whole. Cells as hot as each other share alike what is left, so that nothing
    depends on the order of the cells and the shares add up to `area`, which need not be a whole number.
    """
    last = np.clip(np.ceil(area).astype(np.int64) - 1, 0, mass.shape[1] - 1)
    edge = np.take_along_axis(np.sort(mass, axis=1)[:, ::-1], last[:, None], axis=1)
    hotter, level = mass > edge, mass == edge
    left = (area - hotter.sum(axis=1)) / level.sum(axis=1)
    return hotter + level * left[:, None]
