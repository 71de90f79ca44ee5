"""Gaussian filter."""

from functools import lru_cache

import torch

from demur.filters.edges import Edges, inside
from demur.filters.separable import Bands, bands, separable
from demur.shapes import Images


def gaussian(x: Images, sigma: float, edges: Edges = "nearest", truncate: float = 4.0) -> Images:
    """Convolution with a normal kernel of standard deviation `sigma` pixels, cut at `truncate` deviations."""
    reach = int(truncate * sigma + 0.5)
    if reach == 0:
        return x
    down, across = (_smoothing(side, sigma, reach, edges) for side in x.shape[2:])
    return separable(down, across, x)


@lru_cache(maxsize=16)
def _smoothing(side: int, sigma: float, reach: int, edges: Edges) -> Bands:
    """Which share of each of `side` pixels goes into each of them, what lies beyond the edges counted in."""
    weights = (-0.5 * (torch.arange(-reach, reach + 1) / sigma).double().square()).exp()
    places = inside(torch.arange(side)[:, None] + torch.arange(-reach, reach + 1), side, edges)
    shares = torch.zeros(side, side, dtype=torch.float64)
    return bands(shares.scatter_add_(1, places, (weights / weights.sum()).expand(side, -1)).float())
