"""Squares of pixels at random, one in each row and each of its own size, and the bumps Square fills them with."""

from dataclasses import dataclass

import torch
from torch import Tensor

from demur.attacks.walk import Walk
from demur.shapes import Flags, Images


@dataclass(frozen=True)
class Windows:
    """A square in each row: its `side` (rows, 1, 1), and how far pixels lie `down` and `right` from its corner."""

    side: Tensor
    down: Tensor
    right: Tensor

    @classmethod
    def drawn(cls, walk: Walk, draw: str, side: Tensor, step: Tensor) -> "Windows":
        """Squares anywhere inside the image."""
        height, width = walk.x.shape[2:]
        where = walk.uniform(draw, walk.x.new_empty(len(walk), 2), step)
        top, left = ((where[:, axis] * (size - side + 1)).long() for axis, size in enumerate((height, width)))
        rows, columns = (torch.arange(size, device=side.device) for size in (height, width))
        return cls(side[:, None, None], rows[:, None] - top[:, None, None], columns - left[:, None, None])

    def inside(self) -> Flags:
        """The pixels of each square, (rows, 1, height, width)."""
        down = (self.down >= 0) & (self.down < self.side)
        return (down & (self.right >= 0) & (self.right < self.side))[:, None]


def signs(walk: Walk, draw: str, like: Tensor, step: Tensor | int = 0) -> Tensor:
    """−1 or 1 with equal chance, shaped as `like`."""
    return 2 * (walk.uniform(draw, like, step) >= 0.5).to(like) - 1


def largest_odd(size: int) -> int:
    """The largest odd number up to `size`."""
    return size - 1 + size % 2


def bumps(walk: Walk, windows: Windows, step: Tensor) -> Images:
    """In each square a bump above a dent or beside one, (rows, 1, height, width), of length one; zero outside."""
    turned = walk.uniform("turned", walk.eps, step) >= 0.5
    sides, which = torch.unique(windows.side.flatten(), return_inverse=True)
    patterns = _patterns(sides).to(walk.x)
    outside = patterns.shape[1] - 1
    down, right = (
        torch.where((place >= 0) & (place < windows.side), place, outside) for place in (windows.down, windows.right)
    )
    return patterns[(which + len(sides) * turned)[:, None, None], down, right][:, None]


def tiled(walk: Walk) -> Images:
    """Bumps and dents all over the image, about five across its shorter side, each turned and signed at random."""
    channels, height, width = walk.x.shape[1:]
    side = max(min(height, width) // 5, 1)
    across = walk.x.new_empty(len(walk), channels, -(-height // side), -(-width // side))
    turned, sign = walk.uniform("tiles turned", across[:, :1]) >= 0.5, signs(walk, "tiles", across)
    turned, sign = (tile.repeat_interleave(side, 2).repeat_interleave(side, 3) for tile in (turned, sign))
    rows, columns = (torch.arange(size, device=walk.x.device) % side for size in (height, width))
    upright, aside = _patterns(rows.new_tensor([side])).to(walk.x)[:, rows[:, None], columns]
    crop = (..., slice(height), slice(width))
    return sign[crop] * torch.where(turned[crop], aside, upright)


def _patterns(sides: Tensor) -> Tensor:
    """A bump above a dent for each side, then each turned, in the corner of a field one longer than the longest.

    At t pixels from the middle of its half the bump is Σ 1/k², k from t + 1 to side/2 + 1. Both halves have the same
    energy, and the whole has length one.
    """
    longest = int(sides.max()) if len(sides) else 0
    side, place = sides[:, None, None], torch.arange(longest + 1, device=sides.device)
    down, right, half = place[:, None], place, side // 2
    upper = down < half
    middle = torch.where(upper, half // 2, half + (side - half) // 2)
    away = torch.minimum(torch.maximum((down - middle).abs(), (right - half).abs()), half + 1)
    sums = torch.cat([place.new_zeros(1).double(), (place + 1).double().pow(-2).cumsum(0)])
    found = (sums[half + 1] - sums[away]) * ((down < side) & (right < side))
    parts = [found * upper, found * ~upper]
    bump, dent = (part / part.square().sum(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-12) for part in parts)
    both = bump - dent
    both = both / both.square().sum(dim=(1, 2), keepdim=True).sqrt()
    return torch.cat([both, both.mT])
