"""Rotation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_strength, check_value, parameter
from demur.filters.sample import sample
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """A turn about the centre by a fixed angle in degrees, left or right by each image's own chance, edges mirrored.

    The angles are this project's own; turns up to 30° fool classifiers, Engstrom et al. (2019), arXiv:1712.02779.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            224: (5.0, 10.0, 15.0, 22.5, 30.0),
        }
    )
    sentence: ClassVar[str] = "Turned by {value:g} degrees"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("rotation", self.severity, self.value)
        check_value("rotation", self.value, 0, 360)

    def __call__(self, x: Images, keys: Keys) -> Images:
        degrees = parameter(self, min(x.shape[2:]))
        sides = torch.where(keys.uniform(x[:, 0, 0, :1], "rotation") < 0.5, -1.0, 1.0)[:, :, None].double()
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)) * sides
        height, width = x.shape[2:]
        down = (torch.arange(height, dtype=torch.float64) - (height - 1) / 2)[:, None].to(sides.device)
        right = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2).to(sides.device)
        there = (cosine * down + sine * right + (height - 1) / 2, cosine * right - sine * down + (width - 1) / 2)
        return sample(x, *there, edges="mirror").clamp(0, 1)
