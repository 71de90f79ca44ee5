"""JPEG compression."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from demur.corruptions import check_strength, check_value, parameter
from demur.filters.jpeg import jpeg
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class JPEGCompression:
    """8-bit JPEG at a quality from 1 to 95, with halved colour resolution.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (80, 65, 58, 50, 40),
            64: (65, 58, 50, 40, 25),
            224: (25, 18, 15, 10, 7),
            299: (23, 16, 13, 8, 5),
        }
    )
    sentence: ClassVar[str] = "JPEG of quality {value:g}"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("jpeg_compression", self.severity, self.value)
        check_value("jpeg_compression", self.value, 1, 95)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        quality = parameter(self, min(x.shape[2:]))
        return jpeg(x, round(quality))
