"""Saturation."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_severity, parameter
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Saturate:
    """The saturation of hue, saturation and value multiplied by a factor and raised by a constant, clipped to [0, 1].

    The parameter is (factor, constant). As in the originals a constant turns grey pixels reddish, whose hue counts as
    red. Images of one channel have no colour and are left as they are. Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
            64: ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (30.0, 0.2)),
            224: ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
            299: ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
        }
    )
    sentence: ClassVar[str] = "Saturation multiplied by {value[0]:g}"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("saturate", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        if x.shape[1] == 1:
            return x
        factor, more = parameter(self, min(x.shape[2:]))
        value, least = x.amax(dim=1, keepdim=True), x.amin(dim=1, keepdim=True)
        before = (value - least) / value.clamp(min=1e-12)
        after = (before * factor + more).clamp(0, 1)
        red = torch.zeros_like(x)
        red[:, 1:] = value
        below = torch.where(before > 0, (value - x) / before.clamp(min=1e-12), red)
        return (value - below * after).clamp(0, 1)
