"""Sampling at places between pixels."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from demur.shapes import Images

_PADDING = {"nearest": "border", "reflect": "reflection", "mirror": "reflection"}


def sample(
    x: Images,
    down: Float[Tensor, "rows tall wide"],
    right: Float[Tensor, "rows tall wide"],
    edges: Literal["nearest", "reflect", "mirror"],
) -> Images:
    """Bilinear values at the places (`down`, `right`), in pixels from the centre of the first one."""
    height, width = x.shape[2:]
    corners = edges != "reflect"
    grid = x.new_empty((*down.shape, 2))
    for axis, (places, side) in enumerate([(right, width), (down, height)]):
        if corners:
            begin, scale = -1.0, 2 / max(side - 1, 1)
        else:
            begin, scale = 1 / side - 1, 2 / side
        torch.add(x.new_tensor(begin), places.to(x), alpha=scale, out=grid[..., axis])
    return grid_sample(x, grid, mode="bilinear", padding_mode=_PADDING[edges], align_corners=corners)
