"""Defocus blur."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from demur.corruptions import check_severity, parameter
from demur.filters.correlate import correlate
from demur.filters.edges import pad
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class DefocusBlur:
    """Convolution with a disk of `radius` pixels, its rim softened by a small normal kernel, edges mirrored.

    The parameter is (radius, standard deviation of the softening). Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
            64: ((0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1)),
            224: ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
            299: ((4.0, 0.1), (5.0, 0.5), (7.0, 0.5), (10.0, 0.5), (12.0, 0.5)),
        }
    )
    sentence: ClassVar[str] = "Out of focus: a disk of radius {value[0]:g} pixels"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("defocus_blur", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        radius, softening = parameter(self, min(x.shape[2:]))
        return correlate(x, disk(radius, softening)).clamp_(0, 1)


def disk(radius: float, softening: float) -> Float[Tensor, "tall wide"]:
    """A disk of total 1 on a grid of 17 pixels or just its size, its rim softened over 3, for large disks 5, pixels.

    The softening mirrors at the border of the grid, as the originals let it.
    """
    reach, small = (8, 1) if radius <= 8 else (int(radius), 2)
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    flat = (places[:, None] ** 2 + places**2 <= radius**2).double()
    near = torch.arange(-small, small + 1, dtype=torch.float64)
    soft = (-0.5 * (near / softening).square()).exp()
    soft = soft / soft.sum()
    around = pad((flat / flat.sum())[None, None], (small, small), (small, small), "mirror")
    windows = around[0, 0].unfold(0, 2 * small + 1, 1).unfold(1, 2 * small + 1, 1)
    return torch.einsum("ijab,a,b->ij", windows, soft, soft)
