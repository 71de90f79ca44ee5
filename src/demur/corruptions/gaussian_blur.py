"""Gaussian blur."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from demur.corruptions import check_strength, parameter
from demur.filters.gaussian import gaussian
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
        return gaussian(x, sigma).clamp(0, 1)
