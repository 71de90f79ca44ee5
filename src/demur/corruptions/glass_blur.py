"""Glass blur."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from demur.corruptions import check_severity, parameter
from demur.filters.gaussian import gaussian
from demur.randomness import Keys
from demur.shapes import Images

_TOGETHER = 64
"""Groups of swaps whose places are worked out at once: few enough for the caches."""


@dataclass(frozen=True, kw_only=True)
class GlassBlur:
    """Pixels swapped with near ones, one after another from the lower right, between two normal blurs.

    The parameter is (standard deviation of the blurs, farthest swap, rounds), in pixels. The published images were made
    by code that copies one pixel over the other where it means to swap them; `as_published` does the same.
    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
            64: ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
            224: ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
            299: ((0.8, 1, 3), (1.0, 3, 1), (1.1, 2, 4), (1.2, 4, 2), (1.6, 5, 2)),
        }
    )
    sentence: ClassVar[str] = "Seen through rough glass: pixels swapped up to {value[1]:g} apart"
    value: ClassVar[None] = None

    severity: int
    as_published: bool = False

    def __post_init__(self) -> None:
        check_severity("glass_blur", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        sigma, farthest, rounds = parameter(self, min(x.shape[2:]))
        smooth = gaussian(x, sigma)
        origin = torch.from_numpy(self._origins(x, keys, farthest, rounds)).to(x.device)
        moved = torch.empty_like(x)
        for row, pixels, own in zip(moved, smooth.flatten(2), origin, strict=True):
            row.copy_(pixels.index_select(1, own).view(row.shape))
        return gaussian(moved, sigma).clamp_(0, 1)

    def _origins(self, x: Images, keys: Keys, farthest: int, rounds: int) -> NDArray[np.int64]:
        """For each place of each row, the place its pixel comes from, both counted along the rows of pixels."""
        rows, _, height, width = x.shape
        chance = keys.uniform(x.new_empty((rows, rounds * height * width)), "glass_blur").cpu().numpy()
        visits, ends = _visits(height, width, farthest, rounds)
        cells = (chance * (2 * farthest) ** 2).astype(np.uint8).T.take(visits, axis=0)
        steps = np.arange(-farthest, farthest)
        jumps = (steps[:, None] * width + steps).reshape(-1) * rows
        here = visits % (height * width)
        places = np.repeat(np.arange(height * width)[:, None], rows, axis=1)
        for first in range(0, len(ends) - 1, _TOGETHER):
            begin, *stops = ends[first : first + _TOGETHER + 1]
            part = slice(begin, stops[-1])
            there = jumps.take(cells[part]) + (here[part, None] * rows + np.arange(rows))
            self._exchange(places, here[part], there, [stop - begin for stop in stops])
        return np.ascontiguousarray(places.T)

    def _exchange(
        self, places: NDArray[np.int64], here: NDArray[np.int64], there: NDArray[np.int64], ends: Sequence[int]
    ) -> None:
        """Swap, group by group, the places at `here` in all rows with those at `there`, counted through all rows."""
        every = places.reshape(-1)
        for begin, end in pairwise([0, *ends]):
            one, other = here[begin:end], there[begin:end]
            pixel = every.take(other)
            if not self.as_published:
                every[other] = places.take(one, axis=0)
            places[one] = pixel


@lru_cache(maxsize=4)
def _visits(height: int, width: int, farthest: int, rounds: int) -> tuple[NDArray[np.int64], Sequence[int]]:
    """Places as round · pixels + place in an order of swapping, and where in it groups of them begin and end.

    Going one by one runs up the image and leftwards in each row of pixels. Two swaps can only meet when their places
    are less than 2·farthest apart along both axes; so a row may follow the one below it, and a round the one before it,
    at a distance, and the swaps of one moment, a group, can be done at once with the same result.
    """
    turn, up, left = np.mgrid[:rounds, : max(height - 2 * farthest, 0), : max(width - 2 * farthest, 0)].reshape(3, -1)
    moment = 4 * farthest**2 * turn + 2 * farthest * up + left
    order = moment.astype(np.min_scalar_type(int(moment.max(initial=0)))).argsort(kind="stable")
    place = (turn * height + height - farthest - up) * width + width - farthest - left
    return place[order], [0, *np.bincount(moment).cumsum().tolist()]
