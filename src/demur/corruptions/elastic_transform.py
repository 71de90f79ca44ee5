"""Elastic transform."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from demur.corruptions import check_severity, parameter
from demur.corruptions.parts import in_parts
from demur.filters.gaussian import gaussian
from demur.filters.sample import sample
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
        field = gaussian(chance, sigma, edges="reflect", truncate=3).mul_(strength)
        return sample(turned, field[:, 0].add_(down), field[:, 1].add_(right), edges="reflect").clamp_(0, 1)


def _back(moves: Float[Tensor, "rows 3 2"], height: int, width: int) -> Float[Tensor, "rows 3 2"]:
    """The affine map (right, down, 1) → (right, down) that undoes the moves of three points about the centre."""
    right, down, apart = width // 2, height // 2, max(min(height, width) // 3, 1)
    points = moves.new_tensor(
        [[right + apart, down + apart], [right + apart, down - apart], [right - apart, down - apart]]
    )
    moved = torch.cat([points + moves, moves.new_ones((len(moves), 3, 1))], dim=2)
    return torch.linalg.solve(moved, points.expand(len(moves), -1, -1))
