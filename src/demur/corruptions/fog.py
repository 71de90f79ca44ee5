"""Fog."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from demur.corruptions import check_severity, parameter
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Fog:
    """A height map added to all channels, and the sum dimmed so that its brightest possible value is the image's.

    The parameter is (strength, root of how much rougher each level of the map is than the next finer one). The map
    is a diamond-square fractal on the smallest power of two that holds the image.
    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
            64: ((0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75)),
            224: ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
            299: ((1.5, 2.0), (2.0, 2.0), (2.5, 1.8), (2.5, 1.6), (3.0, 1.5)),
        }
    )
    sentence: ClassVar[str] = "Fog of strength {value[0]:g}"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("fog", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        height, width = x.shape[2:]
        strength, decay = parameter(self, min(height, width))
        side = max(2, 1 << (max(height, width) - 1).bit_length())
        chance = keys.uniform(x.new_empty((len(x), side, side)), "fog").mul_(2).sub_(1)
        haze = heights(chance, decay)[:, None, :height, :width]
        brightest = x.amax(dim=(1, 2, 3), keepdim=True)
        return torch.add(x, haze, alpha=strength).mul_(brightest / (brightest + strength)).clamp_(0, 1)


def heights(chance: Float[Tensor, "rows side side"], decay: float) -> Float[Tensor, "rows side side"]:
    """Diamond-square height maps that repeat at their edges, from 0 to 1.

    `chance`, from -1 to 1, is what each point adds to the mean of its four neighbours, `decay`² times less on each
    finer level. Fournier et al. (1982), "Computer rendering of stochastic models".
    """
    found = chance.new_zeros(chance.shape)
    step, rough = chance.shape[1], 1.0
    while step >= 2:
        half = step // 2
        corners = found[:, ::step, ::step]
        sides = corners + corners.roll(-1, 1)
        centres = (sides + sides.roll(-1, 2)).div_(4).add_(chance[:, half::step, half::step], alpha=rough)
        across = (corners + corners.roll(-1, 2)).add_(centres).add_(centres.roll(1, 1))
        down = sides.add_(centres).add_(centres.roll(1, 2))
        found[:, half::step, half::step] = centres
        found[:, ::step, half::step] = across.div_(4).add_(chance[:, ::step, half::step], alpha=rough)
        found[:, half::step, ::step] = down.div_(4).add_(chance[:, half::step, ::step], alpha=rough)
        step, rough = half, rough / decay**2
    lowest, highest = found.amin(dim=(1, 2), keepdim=True), found.amax(dim=(1, 2), keepdim=True)
    return found.sub_(lowest).div_(highest - lowest)
