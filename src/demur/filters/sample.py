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
    down, right = down.to(x), right.to(x)
    corners = edges != "reflect"
    if corners:
        places = [2 * right / max(width - 1, 1) - 1, 2 * down / max(height - 1, 1) - 1]
    else:
        places = [(2 * right + 1) / width - 1, (2 * down + 1) / height - 1]
    grid = torch.stack(places, dim=3)
    return grid_sample(x, grid, mode="bilinear", padding_mode=_PADDING[edges], align_corners=corners)
