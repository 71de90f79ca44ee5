"""What lies beyond the edge of an image."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from demur.shapes import Images

Edges: TypeAlias = Literal["nearest", "reflect", "mirror", "wrap"]
"""As in scipy: `a a|a b c|c c`, `b a|a b c|c b`, `c b|a b c|b a` and `b c|a b c|a b`."""


def inside(places: Tensor, side: int, edges: Edges) -> Tensor:
    """Whole places along an axis of `side` pixels, however far outside, as the pixels that stand there."""
    if edges == "nearest":
        return places.clamp(0, side - 1)
    if edges == "wrap":
        return places % side
    twice = 1 if edges == "reflect" else 0  # whether the pixel at the edge is seen again beyond it
    period = max(2 * side - 2 + 2 * twice, 1)
    folded = places % period
    return torch.minimum(folded, period - twice - folded)


def pad(x: Images, vertical: tuple[int, int], horizontal: tuple[int, int], edges: Edges) -> Images:
    """The images with rows of pixels added above and below, columns left and right; any number of them."""
    for axis, (before, after) in ((3, horizontal), (2, vertical)):
        if before or after:
            side = x.shape[axis]
            outside = [torch.arange(-before, 0), torch.arange(side, side + after)]
            first, last = (x.index_select(axis, inside(places, side, edges).to(x.device)) for places in outside)
            x = torch.cat([first, x, last], dim=axis)
    return x
