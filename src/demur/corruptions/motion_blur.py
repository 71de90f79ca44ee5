"""Motion blur."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from demur.corruptions import check_severity, parameter
from demur.filters.motion import motion
from demur.randomness import Keys
from demur.shapes import Images


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
