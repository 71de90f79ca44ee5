"""Brightness."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_strength, parameter
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """The value of hue, saturation and value raised by a constant, clipped to [0, 1].

    Colours keep their proportions; black becomes grey. Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.05, 0.1, 0.15, 0.2, 0.3),
            64: (0.1, 0.2, 0.3, 0.4, 0.5),
            224: (0.1, 0.2, 0.3, 0.4, 0.5),
            299: (0.1, 0.2, 0.3, 0.4, 0.5),
        }
    )
    sentence: ClassVar[str] = "Brightness raised by {value:g} of the pixel range"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("brightness", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        more = parameter(self, min(x.shape[2:]))
        value = x.amax(dim=1, keepdim=True)
        raised = (value + more).clamp_(0, 1)
        black = torch.le(value, 0, out=torch.empty_like(value))
        return (x * (raised / value.clamp(min=1e-12))).add_(black.mul_(raised)).clamp_(0, 1)
