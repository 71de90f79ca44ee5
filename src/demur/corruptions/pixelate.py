"""Pixelation."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from demur.corruptions import check_strength, check_value, parameter
from demur.filters.separable import separable
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Pixelate:
    """Each side shrunk by a factor and blown up again; a new pixel is the mean of the old ones whose centres it holds.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.95, 0.9, 0.85, 0.75, 0.65),
            64: (0.9, 0.8, 0.7, 0.6, 0.5),
            224: (0.6, 0.5, 0.4, 0.3, 0.25),
            299: (0.5, 0.4, 0.3, 0.25, 0.2),
        }
    )
    sentence: ClassVar[str] = "Pixelated to {value:g} of the resolution"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("pixelate", self.severity, self.value)
        check_value("pixelate", self.value, 0.01, 1)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        scale = parameter(self, min(x.shape[2:]))
        height, width = x.shape[2:]
        fewer = [max(1, int(side * scale)) for side in (height, width)]
        small = separable(_means(height, fewer[0]), _means(width, fewer[1]), x).clamp(0, 1)
        rows, columns = (
            (torch.arange(side, device=x.device) * 2 + 1) * less // (2 * side)
            for side, less in zip((height, width), fewer, strict=True)
        )
        return small.index_select(2, rows).index_select(3, columns)


def _means(before: int, after: int) -> Float[Tensor, "after before"]:
    """The box filter of Pillow: the mean of the pixels whose centres lie in a new one."""
    first = 2 * before * torch.arange(after)[:, None]
    centre = after * (2 * torch.arange(before) + 1)
    shares = ((first < centre) & (centre <= first + 2 * before)).double()
    return shares / shares.sum(dim=1, keepdim=True)
