"""Pixelation."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_strength, check_value, parameter
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
        sides = x.shape[2:]
        fewer = [max(1, int(side * scale)) for side in sides]
        small = _means(_means(x, 2, fewer[0]), 3, fewer[1]).clamp_(0, 1)
        rows, columns = (
            (torch.arange(side, device=x.device) * 2 + 1) * less // (2 * side)
            for side, less in zip(sides, fewer, strict=True)
        )
        return small.index_select(3, columns).index_select(2, rows)


def _means(x: Images, axis: int, after: int) -> Images:
    """The box filter of Pillow along one axis: means of the pixels whose centres lie in each of `after` new ones."""
    before = x.shape[axis]
    edges = (2 * before * torch.arange(after + 1, device=x.device) + after) // (2 * after)
    first, counts = edges[:-1], edges.diff()
    total = x.index_select(axis, first)
    for more in range(1, int(counts.max())):
        inside = (more < counts).to(x).view(-1, *[1] * (3 - axis))
        total.addcmul_(x.index_select(axis, (first + more).clamp(max=before - 1)), inside)
    return total.div_(counts.to(x).view(-1, *[1] * (3 - axis)))
