"""Filters that treat rows and columns of pixels alike and apart."""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from demur.shapes import Images

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
