"""Blur: Gaussian, defocus, glass, motion, zoom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from demur.corruptions import check_severity, check_strength, parameter
from demur.filters.convolution import correlate, gaussian_filter, motion, pad
from demur.filters.sampling import zoom
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class GaussianBlur:
    """Convolution with a normal kernel cut at four standard deviations, edges replicated.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.4, 0.6, 0.7, 0.8, 1.0),
            64: (0.5, 0.75, 1.0, 1.25, 1.5),
            224: (1.0, 2.0, 3.0, 4.0, 6.0),
            299: (1.5, 2.5, 3.5, 4.5, 6.5),
        }
    )
    sentence: ClassVar[str] = "Gaussian blur of standard deviation {value:g} pixels"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("gaussian_blur", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; blur draws nothing
        sigma = parameter(self, min(x.shape[2:]))
        return gaussian_filter(x, sigma).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class DefocusBlur:
    """Convolution with a disk of `radius` pixels, its rim softened by a small normal kernel, edges mirrored.

    The parameter is (radius, standard deviation of the softening). Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
            64: ((0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1)),
            224: ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
            299: ((4.0, 0.1), (5.0, 0.5), (7.0, 0.5), (10.0, 0.5), (12.0, 0.5)),
        }
    )
    sentence: ClassVar[str] = "Out of focus: a disk of radius {value[0]:g} pixels"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("defocus_blur", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        radius, softening = parameter(self, min(x.shape[2:]))
        return correlate(x, disk(radius, softening)).clamp_(0, 1)


def disk(radius: float, softening: float) -> Float[Tensor, "tall wide"]:
    """A disk of total 1 on a grid of 17 pixels or just its size, its rim softened over 3, for large disks 5, pixels.

    The softening mirrors at the border of the grid, as the originals let it.
    """
    reach, small = (8, 1) if radius <= 8 else (int(radius), 2)
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    flat = (places[:, None] ** 2 + places**2 <= radius**2).double()
    near = torch.arange(-small, small + 1, dtype=torch.float64)
    soft = (-0.5 * (near / softening).square()).exp()
    soft = soft / soft.sum()
    around = pad((flat / flat.sum())[None, None], (small, small), (small, small), "mirror")
    windows = around[0, 0].unfold(0, 2 * small + 1, 1).unfold(1, 2 * small + 1, 1)
    return torch.einsum("ijab,a,b->ij", windows, soft, soft)


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
        smooth = gaussian_filter(x, sigma)
        origin = torch.from_numpy(self._origins(x, keys, farthest, rounds)).to(x.device)
        moved = torch.empty_like(x)
        for row, pixels, own in zip(moved, smooth.flatten(2), origin, strict=True):
            row.copy_(pixels.index_select(1, own).view(row.shape))
        return gaussian_filter(moved, sigma).clamp_(0, 1)

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


@dataclass(frozen=True, kw_only=True)
class MotionBlur:
    """A mean along a ray at an angle of each image's own, uniform between −45° and 45°, edges replicated.

    The parameter is (radius, standard deviation of the weights along the ray), in pixels.
    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)),
            64: ((10, 1.0), (10, 1.5), (10, 2.0), (10, 2.5), (12, 3.0)),
            224: ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)),
            299: ((12, 4.0), (17, 6.0), (17, 9.0), (17, 13.0), (22, 16.0)),
        }
    )
    sentence: ClassVar[str] = "Motion blur of standard deviation {value[1]:g} pixels, at random angles"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("motion_blur", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        radius, sigma = parameter(self, min(x.shape[2:]))
        turns = keys.uniform(x[:, 0, 0, :1], "motion_blur")[:, 0]
        return motion(x, radius=radius, sigma=sigma, degrees=90 * turns - 45).clamp_(0, 1)


@dataclass(frozen=True, kw_only=True)
class ZoomBlur:
    """The mean of the image and of itself enlarged by factors from 1 upwards.

    The parameter is (end of the factors, their step). Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
            64: ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
            224: ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
            299: ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        }
    )
    sentence: ClassVar[str] = "Zoom during the exposure, up to {value[0]:g} times"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("zoom_blur", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        end, step = parameter(self, min(x.shape[2:]))
        # The originals take their factors from this very call, whose rounding sometimes lets the end in.
        return zoom(x, [1.0, *np.arange(1, end, step).tolist()]).clamp_(0, 1)
