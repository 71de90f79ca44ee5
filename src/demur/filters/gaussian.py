"""Gaussian filter."""

import torch
from jaxtyping import Float
from torch import Tensor

from demur.filters.edges import Edges, inside
from demur.filters.separable import separable
from demur.shapes import Images


def gaussian(x: Images, sigma: float, edges: Edges = "nearest", truncate: float = 4.0) -> Images:
    """Convolution with a normal kernel of standard deviation `sigma` pixels, cut at `truncate` deviations."""
    reach = int(truncate * sigma + 0.5)
    if reach == 0:
        return x
    weights = (-0.5 * (torch.arange(-reach, reach + 1) / sigma).double().square()).exp()
    down, across = (_smoothing(side, weights / weights.sum(), reach, edges) for side in x.shape[2:])
    return separable(down, across, x)


def _smoothing(side: int, weights: Float[Tensor, " width"], reach: int, edges: Edges) -> Float[Tensor, "side side"]:
    """Which share of each of `side` pixels goes into each of them, what lies beyond the edges counted in."""
    places = inside(torch.arange(side)[:, None] + torch.arange(-reach, reach + 1), side, edges)
    shares = torch.zeros(side, side, dtype=torch.float64)
    return shares.scatter_add_(1, places, weights.expand(side, -1))
