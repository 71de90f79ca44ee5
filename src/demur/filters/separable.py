"""Filters that treat rows and columns of pixels alike and apart."""

import torch
from jaxtyping import Float
from torch import Tensor

from demur.shapes import Images

_BLOCK = 32


def separable(down: Float[Tensor, "after before"], across: Float[Tensor, "after2 before2"], x: Images) -> Images:
    """Every column of pixels mapped by the matrix `down`, every row by `across`.

    One image at a time, because how a product is rounded may depend on how many there are.
    """
    vertical, horizontal = _blocks(down.to(x)), _blocks(across.to(x))
    images = (x[row : row + 1] for row in range(len(x)))
    parts = [_product(vertical, _product(horizontal, image.mT).mT) for image in images]
    return torch.cat(parts) if parts else x


def _blocks(matrix: Float[Tensor, "after before"]) -> list[tuple[Float[Tensor, "some used"], int, int]]:
    """Rows of the matrix a few at a time, without the columns that are zero in them: mostly it is a band."""
    blocks = []
    for top in range(0, len(matrix), _BLOCK):
        block = matrix[top : top + _BLOCK]
        used = block.any(dim=0).nonzero()
        first, last = int(used[0]), int(used[-1]) + 1
        blocks.append((block[:, first:last].contiguous(), first, last))
    return blocks


def _product(blocks: list[tuple[Float[Tensor, "some used"], int, int]], x: Images) -> Images:
    return torch.cat([block @ x[:, :, first:last] for block, first, last in blocks], dim=2)
