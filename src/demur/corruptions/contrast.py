"""Contrast."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_strength, parameter
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Differences to the mean of each channel multiplied by a factor below 1.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.75, 0.5, 0.4, 0.3, 0.15),
            64: (0.4, 0.3, 0.2, 0.1, 0.05),
            224: (0.4, 0.3, 0.2, 0.1, 0.05),
            299: (0.4, 0.3, 0.2, 0.1, 0.05),
        }
    )
    sentence: ClassVar[str] = "Contrast multiplied by {value:g}"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("contrast", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        factor = parameter(self, min(x.shape[2:]))
        sums = x.sum(dim=3, keepdim=True).double().sum(dim=2, keepdim=True)  # never one sum, which threads would share
        means = (sums / math.prod(x.shape[2:])).to(x)
        return torch.lerp(means, x, factor).clamp_(0, 1)
