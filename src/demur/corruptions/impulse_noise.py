"""Impulse noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_strength, check_value, parameter
from demur.corruptions.parts import in_parts
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class ImpulseNoise:
    """A share of the values, each channel alone, set to 0 or 1 by equal chance.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.01, 0.02, 0.03, 0.05, 0.07),
            64: (0.01, 0.02, 0.05, 0.08, 0.14),
            224: (0.03, 0.06, 0.09, 0.17, 0.27),
            299: (0.04, 0.07, 0.1, 0.18, 0.28),
        }
    )
    sentence: ClassVar[str] = "A share {value:g} of the values set to 0 or 1"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("impulse_noise", self.severity, self.value)
        check_value("impulse_noise", self.value, 0, 1)

    def __call__(self, x: Images, keys: Keys) -> Images:
        return in_parts(self._speckled, x, keys)

    def _speckled(self, x: Images, keys: Keys) -> Images:
        share = parameter(self, min(x.shape[2:]))
        drawn = keys.uniform(x, "impulse_noise")
        white, bright = (torch.ge(drawn, edge, out=torch.empty_like(drawn)) for edge in (1 - share / 2, share / 2))
        return x.clamp(white, bright)
