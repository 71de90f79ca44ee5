"""Filters by kernels: correlation, Gaussian, motion, separable ones, and what lies beyond the edge."""

import math
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor
from torch.fft import irfft2, rfft2

from demur.shapes import Images

Edges: TypeAlias = Literal["nearest", "reflect", "mirror", "wrap"]
"""As in scipy: `a a|a b c|c c`, `b a|a b c|c b`, `c b|a b c|b a` and `b c|a b c|a b`."""


def within_edges(places: Tensor, side: int, edges: Edges) -> Tensor:
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
            first, last = (x.index_select(axis, within_edges(places, side, edges).to(x.device)) for places in outside)
            x = torch.cat([first, x, last], dim=axis)
    return x


def correlate(x: Images, kernel: Float[Tensor, "tall wide"], edges: Edges = "mirror") -> Images:
    """Each pixel becomes the sum of its neighbours weighted by a kernel of odd sides, by fast Fourier transform.

    One image at a time, because how a transform is rounded may depend on how many there are.
    """
    up, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    height, width = x.shape[2:]
    size = [next_fast_len(side + 2 * around, real=True) for side, around in ((height, up), (width, left))]
    response = rfft2(kernel.to(x), s=size).conj()
    out = torch.empty_like(x)
    for row in range(len(x)):
        spectrum = rfft2(pad(x[row : row + 1], (up, up), (left, left), edges), s=size).mul_(response)
        out[row] = irfft2(spectrum, s=size)[0, :, :height, :width]
    return out


_BLOCK = 32

Bands: TypeAlias = list[tuple[Float[Tensor, "some used"], int, int]]
"""Rows of a matrix a few at a time, without the columns that are zero in them; and the first of these and their end."""


def bands(matrix: Float[Tensor, "after before"]) -> Bands:
    """The matrix as what of it is not zero: mostly it is a band along the diagonal."""
    found = []
    for top in range(0, len(matrix), _BLOCK):
        block = matrix[top : top + _BLOCK]
        used = block.any(dim=0).nonzero()
        first, end = int(used[0]), int(used[-1]) + 1
        found.append((block[:, first:end].contiguous(), first, end))
    return found


def separable(down: Bands, across: Bands, x: Images) -> Images:
    """Every column of pixels mapped by the matrix `down`, every row by `across`.

    One image at a time, because how a product is rounded may depend on how many there are.
    """
    vertical, horizontal = ([(block.to(x), first, end) for block, first, end in way] for way in (down, across))
    images = (x[row : row + 1] for row in range(len(x)))
    parts = [_product(vertical, _product(horizontal, image.mT).mT) for image in images]
    return torch.cat(parts) if parts else x


def _product(matrix: Bands, x: Images) -> Images:
    return torch.cat([block @ x[:, :, first:end] for block, first, end in matrix], dim=2)


def gaussian_filter(x: Images, sigma: float, edges: Edges = "nearest", truncate: float = 4.0) -> Images:
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
    places = within_edges(torch.arange(side)[:, None] + torch.arange(-reach, reach + 1), side, edges)
    shares = torch.zeros(side, side, dtype=torch.float64)
    return bands(shares.scatter_add_(1, places, (weights / weights.sum()).expand(side, -1)).float())


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
