"""Motion filter."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from demur.filters.edges import pad
from demur.shapes import Images


def motion(x: Images, *, radius: int, sigma: float, degrees: Float[Tensor, " rows"]) -> Images:
    """Each pixel becomes a mean along a ray of 2·`radius` + 1 pixels that leaves it at its row's angle.

    The weights are half a normal curve of standard deviation `sigma`, places are the nearest pixels, edges are
    replicated: the convention of ImageMagick. An angle of 0 points right, one of 90 down.
    """
    shares = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(2 * radius + 1)]
    out = torch.empty_like(x)
    for row, angle in enumerate(degrees.tolist()):
        along = (math.sin(math.radians(angle)), math.cos(math.radians(angle)))
        way = [[math.ceil(step * part - 0.5) for step in range(2 * radius + 1)] for part in along]
        (up, down), (left, right) = ((max(0, -min(steps)), max(0, *steps)) for steps in way)
        around = pad(x[row : row + 1], (up, down), (left, right), "nearest")
        total = torch.zeros_like(around).view(-1)
        for share, top, across in zip(shares, *way, strict=True):
            begin = (up + top) * around.shape[3] + left + across
            total[: len(total) - begin].add_(around.view(-1)[begin:], alpha=share / sum(shares))
        out[row] = total.view(around.shape)[0, :, : x.shape[2], : x.shape[3]]
    return out
