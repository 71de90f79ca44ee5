"""Images that are almost the same: saved again, resized, or moved by a pixel.

A print is the grey image at 32×32 or less. Two images are near-duplicates when their 64-bit perceptual hashes differ in
at most 6 bits, at one of nine moves by up to a pixel, and their softened, standardised prints differ by less than 0.05
root mean square. The hash is quick and mistakes one shirt for another; the print confirms. Flat images have neither.
Zauner (2010), "Implementation and benchmarking of perceptual image hash functions" (the hash: signs of low-frequency
cosine coefficients about their median).
"""

from collections.abc import Iterable, Iterator
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
CLOSE = 0.05
_FLAT = 0.01
_CHUNK = 2**20
_CONFIRMED_AT_ONCE = 4096

Prints = UInt8[Tensor, "rows height width"]


@dataclass(frozen=True)
class _Move:
    """A move of the image in pixels of its print."""

    down: float
    right: float

    def __call__(self, prints: Float[Tensor, "rows height width"]) -> Float[Tensor, "rows height width"]:
        """The print of the moved image; what leaves is lost, and the edge is repeated where nothing comes in."""
        return _rolled(_rolled(prints, self.down, 1), self.right, 2)


def print_of(images: Images) -> Prints:
    """The grey image, averaged down to at most 32×32."""
    side = (min(SIDE, images.shape[2]), min(SIDE, images.shape[3]))
    grey = images.mean(dim=1, keepdim=True)
    small = interpolate(grey, size=side, mode="bilinear", antialias=True, align_corners=False)[:, 0]
    return (small * 255).round().clamp(0, 255).to(torch.uint8)


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
    whole = prints.float() / 255
    lively = np.flatnonzero((whole.flatten(1).std(dim=1) > _FLAT).numpy())
    whole, kinds = whole[lively], np.unique(parts[lively], return_inverse=True)[1]
    still = hashes(whole)
    found = [np.zeros((0, 2), np.int64)]
    for move in _moves(prints.shape[1] / shape[0], prints.shape[2] / shape[1]):
        for pairs in _candidates(hashes(move(whole)), still, kinds):
            found.append(pairs[_confirmed(whole, pairs, move)])
    return np.unique(lively[np.sort(np.concatenate(found), axis=1)], axis=0)


def _moves(down: float, right: float) -> Iterable[_Move]:
    return [_Move(down * i, right * j) for i, j in product((0, -1, 1), repeat=2)]


def _candidates(moved: NDArray[np.uint64], still: NDArray[np.uint64], kinds: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, _CHUNK // max(1, len(still)))
    for start in range(0, len(still), step):
        stop = start + step
        apart = np.bitwise_count(moved[start:stop, None] ^ still[None, start + 1 :])
        first, second = np.nonzero(apart <= BITS)
        pairs = np.stack([first + start, second + start + 1], axis=1)
        yield pairs[(pairs[:, 0] < pairs[:, 1]) & (kinds[pairs[:, 0]] != kinds[pairs[:, 1]])]


def _confirmed(prints: Tensor, pairs: NDArray[Any], move: _Move) -> NDArray[np.bool_]:
    close = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _CONFIRMED_AT_ONCE):
        part = torch.from_numpy(pairs[start : start + _CONFIRMED_AT_ONCE])
        gap = _standard(move(prints[part[:, 0]])) - _standard(prints[part[:, 1]])
        close[start : start + len(part)] = (gap.square().mean(dim=(1, 2)).sqrt() < CLOSE).numpy()
    return close


def _standard(prints: Tensor) -> Tensor:
    """Softened, without the rim that a move may have made up, mean 0, deviation 1."""
    soft = avg_pool2d(prints, 3, stride=1)
    level = soft.mean(dim=(1, 2), keepdim=True)
    return (soft - level) / soft.std(dim=(1, 2), keepdim=True).clamp(min=1e-6)


def _rolled(prints: Tensor, by: float, axis: int) -> Tensor:
    """Moved by a fraction of a pixel at most one: the weighted mean of a row and the one before or after it."""
    if by == 0:
        return prints
    length = prints.shape[axis]
    near = torch.arange(length) - int(np.sign(by))
    return torch.lerp(prints, prints.index_select(axis, near.clamp(0, length - 1)), abs(by))


def _cosines(size: int) -> Float[Tensor, "9 size"]:
    places = torch.arange(size) + 0.5
    return torch.cos(torch.pi / size * torch.outer(torch.arange(9.0), places))
