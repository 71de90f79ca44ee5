"""Images that are almost the same: saved again, resized, or moved by a pixel.

A print is the grey image at 32×32 or less. Two images are near-duplicates when their 64-bit perceptual hashes differ in
at most 6 bits, at one of nine moves by up to a pixel, and their softened, standardised prints differ by less than 0.06
root mean square; above 20,000 images none is moved. The hash is quick and mistakes one shirt for another; the print
confirms. Flat images and those below 8×8 have no duplicates.
Zauner (2010), "Implementation and benchmarking of perceptual image hash functions" (the hash: signs of low-frequency
cosine coefficients about their median).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from demur.shapes import Images

SIDE = 32
BITS = 6
CLOSE = 0.06
_FLAT = 0.01
_CHUNK = 2**18
_AT_ONCE = 512
_SMALLEST = 8
_MOST_MOVED = 20_000

Prints = UInt8[Tensor, "rows height width"]


@dataclass(frozen=True)
class _Move:
    """A move of the image in pixels of its print."""

    down: float
    right: float

    def __call__(self, prints: Float[Tensor, "rows height width"]) -> Float[Tensor, "rows height width"]:
        """The print of the moved image; what leaves is lost, and the edge is repeated where nothing comes in."""
        return _roll(_roll(prints, self.down, 1), self.right, 2)


def print_of(images: Images) -> Prints:
    """The grey image, averaged down to at most 32×32."""
    side = (min(SIDE, images.shape[2]), min(SIDE, images.shape[3]))
    small = interpolate(_grey(images), size=side, mode="bilinear", antialias=True, align_corners=False)[:, 0]
    return (small * 255).round().clamp(0, 255).to(torch.uint8)


def _grey(images: Images) -> Images:
    """Luma for colour, which is what a JPEG keeps best; the mean of the channels otherwise."""
    if images.shape[1] == 3:
        return torch.einsum("rchw,c->rhw", images, torch.tensor([0.299, 0.587, 0.114])).unsqueeze(1)
    return images.mean(dim=1, keepdim=True)


def hashes(prints: Float[Tensor, "rows height width"]) -> NDArray[np.uint64]:
    """64 signs of the lowest cosine coefficients but the mean, about their median."""
    _, height, width = prints.shape
    waves = _cosines(height) @ prints @ _cosines(width).T
    low = waves.reshape(len(prints), -1)[:, 1:65]
    bits = low > low.median(dim=1, keepdim=True).values
    return np.packbits(bits.numpy(), axis=1).view(np.uint64)[:, 0]


def near_duplicates(prints: Prints, parts: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    """The pairs (i, j), i < j, of near-duplicate rows that lie in different parts, each once.

    `shape` is the height and width of the images the prints were made of, and so the size of a pixel.
    """
    found = [np.zeros((0, 2), np.int64)]
    spread = [part.flatten(1).float().std(dim=1) for part in torch.split(prints, _AT_ONCE)]
    lively = np.flatnonzero((torch.cat(spread) > 255 * _FLAT).numpy()) if spread else np.zeros(0, np.int64)
    if min(prints.shape[1:]) < _SMALLEST or not len(lively):
        return found[0]
    prints = prints if len(lively) == len(prints) else prints[lively]
    kinds = np.unique(parts[lively], return_inverse=True)[1]
    still = _Look.of(prints, _Move(0, 0))
    for down, right in product((0, -1, 1) if len(lively) <= _MOST_MOVED else (0,), repeat=2):
        move = _Move(down * prints.shape[1] / shape[0], right * prints.shape[2] / shape[1])
        found += _pairs(prints, _Look.of(prints, move), still, kinds)
    return np.unique(lively[np.concatenate(found)], axis=0)


@dataclass(frozen=True, eq=False)
class _Look:
    """What is quick to compare of all prints at one move; `coarse` are block means of the standardised prints."""

    move: _Move
    hashes: NDArray[np.uint64]
    coarse: Float[Tensor, "rows blocks"]

    @classmethod
    def of(cls, prints: Prints, move: _Move) -> "_Look":
        """Looked at a few rows at a time, since floats take four times the room."""
        moved = (move(part / 255) for part in torch.split(prints, _AT_ONCE))
        codes, coarse = zip(*((hashes(part), _blocks(_standard(part))) for part in moved), strict=True)
        return cls(move, np.concatenate(codes), torch.cat(coarse))


def _pairs(prints: Prints, moved: _Look, still: _Look, kinds: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    step = max(1, _CHUNK // max(1, len(kinds)))
    for start in range(0, len(kinds), step):
        apart = np.bitwise_count(moved.hashes[start : start + step, None] ^ still.hashes[None, start + 1 :])
        first, second = np.nonzero(apart <= BITS)
        pairs = np.stack([first + start, second + start + 1], axis=1)
        pairs = pairs[(pairs[:, 0] < pairs[:, 1]) & (kinds[pairs[:, 0]] != kinds[pairs[:, 1]])]
        for part in np.split(pairs, range(_AT_ONCE, len(pairs), _AT_ONCE)):
            near = part[_close(moved.coarse[part[:, 0]], still.coarse[part[:, 1]])]
            if len(near):
                one, other = (prints[near[:, side]] / 255 for side in (0, 1))
                yield near[_close(_standard(moved.move(one)), _standard(other))]


def _close(one: Tensor, other: Tensor) -> NDArray[np.bool_]:
    """Root mean square below the limit. Block means differ by no more than what they are means of: none is lost."""
    return np.asarray(((one - other).square().flatten(1).mean(dim=1).sqrt() < CLOSE).numpy(), bool)


def _standard(prints: Tensor) -> Tensor:
    """Softened, without the rim that a move may have made up, mean 0, deviation 1."""
    soft = avg_pool2d(prints, 3, stride=1)
    level = soft.mean(dim=(1, 2), keepdim=True)
    return (soft - level) / soft.std(dim=(1, 2), keepdim=True).clamp(min=1e-6)


def _blocks(standard: Tensor) -> Tensor:
    """Means of equal blocks, scaled so that their mean square is at most that of the whole print."""
    _, height, width = standard.shape
    size = max(1, min(height, width) // 6)
    means = avg_pool2d(standard, size).flatten(1)
    return means * (means.shape[1] * size**2 / (height * width)) ** 0.5


def _roll(prints: Tensor, by: float, axis: int) -> Tensor:
    """Moved by a fraction of a pixel at most one: the weighted mean of a row and the one before or after it."""
    if by == 0:
        return prints
    length = prints.shape[axis]
    near = torch.arange(length) - int(np.sign(by))
    return torch.lerp(prints, prints.index_select(axis, near.clamp(0, length - 1)), abs(by))


def _cosines(size: int) -> Float[Tensor, "9 size"]:
    places = torch.arange(size) + 0.5
    return torch.cos(torch.pi / size * torch.outer(torch.arange(9.0), places))
