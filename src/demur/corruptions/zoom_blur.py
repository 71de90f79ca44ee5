"""Zoom blur."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from demur.corruptions import check_severity, parameter
from demur.filters.zoom import zoom
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class ZoomBlur:
    """The mean of the image and of itself enlarged by factors from 1 upwards.

    The parameter is (end of the factors, their step). Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
            64: ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
            224: ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
            299: ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        }
    )
    sentence: ClassVar[str] = "Zoom during the exposure, up to {value[0]:g} times"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("zoom_blur", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        end, step = parameter(self, min(x.shape[2:]))
        # The originals take their factors from this very call, whose rounding sometimes lets the end in.
        return zoom(x, [1.0, *np.arange(1, end, step).tolist()]).clamp_(0, 1)
