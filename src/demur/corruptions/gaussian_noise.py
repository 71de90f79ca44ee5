"""Gaussian noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_strength, parameter
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Independent normal noise on every value, clipped to [0, 1].

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.04, 0.06, 0.08, 0.09, 0.10),
            64: (0.04, 0.08, 0.12, 0.15, 0.18),
            224: (0.08, 0.12, 0.18, 0.26, 0.38),
            299: (0.09, 0.13, 0.19, 0.27, 0.40),
        }
    )
    sentence: ClassVar[str] = "Gaussian noise of standard deviation {value:g} of the pixel range"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("gaussian_noise", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:
        sigma = parameter(self, min(x.shape[2:]))
        return torch.add(x, keys.normal(x, "gaussian_noise"), alpha=sigma).clamp_(0, 1)
