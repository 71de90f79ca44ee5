"""Speckle noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_strength, parameter
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class SpeckleNoise:
    """Independent normal noise in proportion to each value, clipped to [0, 1].

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.06, 0.1, 0.12, 0.16, 0.2),
            64: (0.15, 0.2, 0.25, 0.3, 0.35),
            224: (0.15, 0.2, 0.35, 0.45, 0.6),
            299: (0.16, 0.21, 0.36, 0.46, 0.61),
        }
    )
    sentence: ClassVar[str] = "Noise of standard deviation {value:g} times each value"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("speckle_noise", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:
        sigma = parameter(self, min(x.shape[2:]))
        return torch.addcmul(x, x, keys.normal(x, "speckle_noise"), value=sigma).clamp_(0, 1)
