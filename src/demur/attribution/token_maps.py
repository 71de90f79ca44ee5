"""The tokens of a transformer as maps: those of patches on their grid, those of the class and of registers left out."""

import math
from dataclasses import dataclass

from torch import Tensor

_MOST = 8
"""Tokens that stand for no patch: one of the class, one of distillation, registers."""


@dataclass(frozen=True)
class TokenGrid:
    """How tokens lie on an image: the first `others` stand for no patch, the rest line after line."""

    others: int
    height: int
    width: int

    @classmethod
    def of(cls, tokens: int, size: tuple[int, int]) -> "TokenGrid | None":
        """The grid of so many tokens that has the proportions of an image, with as few others as can be.

        >>> TokenGrid.of(197, (224, 224)), TokenGrid.of(30, (60, 90))
        (TokenGrid(others=1, height=14, width=14), TokenGrid(others=6, height=4, width=6))
        """
        for others in range(min(_MOST, tokens - 2) + 1):
            patches = tokens - others
            height = round(math.sqrt(patches * size[0] / size[1]))
            width = round(height * size[1] / size[0])
            if height * width == patches:
                return cls(others, height, width)
        return None

    def maps(self, tokens: Tensor) -> Tensor:
        """(rows, width of a token, height, width) of (rows, tokens, width of a token)."""
        patches = tokens[:, self.others :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], self.height, self.width)


def as_maps(output: Tensor, size: tuple[int, int]) -> Tensor | None:
    """What a layer puts out as (rows, maps, height, width) with more than one cell; None where it has no grid.

    Of four axes the last two are the grid, or the middle two where these alone have the proportions of the image, as in
    nets that keep channels last. Of three the second is that of tokens.
    """
    if output.ndim == 4:
        first, second, third = output.shape[1:]
        last = _alike((first, second), size) and not _alike((second, third), size)
        found = output.permute(0, 3, 1, 2) if last else output
        return found if found.shape[2] * found.shape[3] > 1 else None
    grid = TokenGrid.of(output.shape[1], size) if output.ndim == 3 else None
    return None if grid is None else grid.maps(output)


def _alike(grid: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a grid has the proportions of an image, but for rounding."""
    return round(grid[0] * size[1] / size[0]) == grid[1]
