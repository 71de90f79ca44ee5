"""Geometry: elastic transform, rotation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from demur.corruptions import check_severity, check_strength, check_value, parameter
from demur.corruptions.pixel_values import in_parts
from demur.filters.convolution import gaussian_filter
from demur.filters.sampling import sample
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class ElasticTransform:
    """An affine map that moves three points at random, then a smooth field of displacements; bilinear, edges mirrored.

    The parameter is (strength of the field, standard deviation of its smoothing, farthest the points move), in pixels.
    As published, the lengths for 224 pixels are those of images of 244, and for 299 those of 360.
    Hendrycks & Dietterich (2019), arXiv:1903.12261; Simard et al. (2003), "Best practices for convolutional neural
    networks applied to visual document analysis".
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((0.0, 0.0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
            64: ((0.0, 0.0, 5.12), (3.2, 19.2, 3.84), (6.4, 5.12, 3.84), (6.4, 1.92, 1.92), (10.24, 1.92, 1.28)),
            224: (
                (488.0, 170.8, 24.4),
                (488.0, 19.52, 48.8),
                (12.2, 2.44, 4.88),
                (17.08, 2.44, 4.88),
                (29.28, 2.44, 4.88),
            ),
            299: (
                (720.0, 252.0, 36.0),
                (720.0, 28.8, 72.0),
                (18.0, 3.6, 7.2),
                (25.2, 3.6, 7.2),
                (43.2, 3.6, 7.2),
            ),
        }
    )
    sentence: ClassVar[str] = "Stretched like rubber, corners moved up to {value[2]:g} pixels"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("elastic_transform", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        return in_parts(self._stretched, x, keys)

    def _stretched(self, x: Images, keys: Keys) -> Images:
        height, width = x.shape[2:]
        strength, sigma, farthest = parameter(self, min(height, width))
        down, right = (torch.arange(side, dtype=x.dtype, device=x.device) for side in (height, width))
        down = down[:, None]
        moves = farthest * (2 * keys.uniform(x.new_empty((len(x), 3, 2)), "elastic_transform corners") - 1)
        back = _back(moves.double(), height, width).to(x)[..., None, None]
        across, along = (back[:, 0, axis] * right + back[:, 1, axis] * down + back[:, 2, axis] for axis in (0, 1))
        turned = sample(x, along, across, edges="mirror")
        chance = keys.uniform(x.new_empty((len(x), 2, height, width)), "elastic_transform field").mul_(2).sub_(1)
        field = gaussian_filter(chance, sigma, edges="reflect", truncate=3).mul_(strength)
        return sample(turned, field[:, 0].add_(down), field[:, 1].add_(right), edges="reflect").clamp_(0, 1)


def _back(moves: Float[Tensor, "rows 3 2"], height: int, width: int) -> Float[Tensor, "rows 3 2"]:
    """The affine map (right, down, 1) → (right, down) that undoes the moves of three points about the centre."""
    right, down, apart = width // 2, height // 2, max(min(height, width) // 3, 1)
    points = moves.new_tensor(
        [[right + apart, down + apart], [right + apart, down - apart], [right - apart, down - apart]]
    )
    moved = torch.cat([points + moves, moves.new_ones((len(moves), 3, 1))], dim=2)
    return torch.linalg.solve(moved, points.expand(len(moves), -1, -1))


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """A turn about the centre by a fixed angle in degrees, left or right by each image's own chance, edges mirrored.

    The angles are this project's own; turns up to 30° fool classifiers, Engstrom et al. (2019), arXiv:1712.02779.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            224: (5.0, 10.0, 15.0, 22.5, 30.0),
        }
    )
    sentence: ClassVar[str] = "Turned by {value:g} degrees"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("rotation", self.severity, self.value)
        check_value("rotation", self.value, 0, 360)

    def __call__(self, x: Images, keys: Keys) -> Images:
        degrees = parameter(self, min(x.shape[2:]))
        sides = torch.where(keys.uniform(x[:, 0, 0, :1], "rotation") < 0.5, -1.0, 1.0)[:, :, None].double()
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)) * sides
        height, width = x.shape[2:]
        down = (torch.arange(height, dtype=torch.float64) - (height - 1) / 2)[:, None].to(sides.device)
        right = (torch.arange(width, dtype=torch.float64) - (width - 1) / 2).to(sides.device)
        there = (cosine * down + sine * right + (height - 1) / 2, cosine * right - sine * down + (width - 1) / 2)
        return sample(x, *there, edges="mirror").clamp(0, 1)
