"""Images that are almost the same: saved again, resized, moved by a few pixels, mirrored, brightened.

A print is the grey image at 32×32 or less. Neighbours are found by the moduli of their low frequencies, which hardly
change when an image moves by a pixel and not at all when it is mirrored, from nine places up to three pixels of the
print apart. Each neighbour is laid over the image, mirrored and not: it is a near-duplicate where the softened,
standardised prints differ by less than 0.06 root mean square; by less than 0.04 where an image no larger than its print
must be moved or mirrored. Spectra are quick and take one shirt for another, prints confirm. Above 20,000 images moves
of more than a pixel are left out. Flat images and those below 8×8 have no duplicates.
Reddy & Chatterji (1996), "An FFT-based technique for translation, rotation, and scale-invariant image registration"
(moduli of Fourier coefficients tell an image wherever it lies).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from demur.data.nearest_places import PlacesByKind, nearest_of_all, nearest_of_some, on_axes
from demur.shapes import Images

SIDE = 32
CLOSE, CLOSE_WHEN_MOVED = 0.06, 0.04
_ROUGH, _NEAR = 0.7, 0.3
_BLOCKED = 24
_FLAT = 0.01
_AT_ONCE, _MANY = 512, 8192
_SMALLEST = 8
_FARTHEST = 3
_MOST_MOVED = 20_000
_FREQUENCIES = 5

Prints = UInt8[Tensor, "rows height width"]
Grey = Float[Tensor, "rows height width"]


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


def near_duplicates(
    prints: Prints | Sequence[Prints],
    parts: NDArray[Any],
    shape: tuple[int, int],
    asked: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """The pairs (i, j), i < j, of near-duplicate rows that lie in different parts, each once.

    Of each row the nearest few are compared, so that the cost does not grow with how much alike a set is, and pairs
    beyond these are missed.

    Args:
        prints: of all rows, in one tensor or several that follow one another.
        parts: the part that each row lies in.
        shape: height and width of the images the prints are of: where they are larger, a move is no whole pixel of a
            print.
        asked: the rows of which each is compared with the nearest few of all rows in other parts; by default every
            row is, with the nearest few of all rows. Memory is then one of a few numbers a row, and time that of the
            rows asked times all.
    """
    stack = _Stack((prints,) if isinstance(prints, Tensor) else tuple(prints))
    lively = stack.lively
    if min(stack.shape) < _SMALLEST or not len(lively):
        return np.zeros((0, 2), np.int64)
    kinds, overlay = np.unique(parts[lively], return_inverse=True)[1], _Overlay.of(stack.shape, shape)
    if asked is None and len(lively) <= _MOST_MOVED:
        found = _among_few(stack[lively], kinds, overlay)
    elif asked is None:
        _, places = on_axes(spectra(stack[lively]))
        found = _confirmed(stack, lively, nearest_of_all(places, places, kinds), overlay)
    else:
        among, own = PlacesByKind.of(_on_few_axes(stack, lively), kinds), np.flatnonzero(np.isin(lively, asked))
        found = _confirmed(stack, lively, nearest_of_some(among, own), overlay)
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *found])
    return np.unique(lively[np.sort(pairs, axis=1)], axis=0)


@dataclass(frozen=True, eq=False)
class _Stack:
    """Prints of one shape in several tensors, one after the other."""

    prints: Sequence[Prints]

    def __len__(self) -> int:
        return sum(map(len, self.prints))

    def __getitem__(self, rows: NDArray[np.int64]) -> Prints:
        """Those of some rows, in a tensor; of all rows in order the tensor that there is."""
        if len(self.prints) == 1:
            return self.prints[0] if len(rows) == len(self) else self.prints[0][torch.from_numpy(rows)]
        found, start = torch.empty(len(rows), *self.shape, dtype=torch.uint8), 0
        for each in self.prints:
            own = (rows >= start) & (rows < start + len(each))
            found[torch.from_numpy(own)] = each[torch.from_numpy(rows[own] - start)]
            start += len(each)
        return found

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.prints[0].shape[1], self.prints[0].shape[2]

    @property
    def lively(self) -> NDArray[np.int64]:
        """The rows that are not flat."""
        spread, start = torch.empty(len(self)), 0  # small results held between large ones would keep these from reuse
        for part in (part for prints in self.prints for part in torch.split(prints, _AT_ONCE)):
            spread[start : start + len(part)] = part.flatten(1).float().std(dim=1)
            start += len(part)
        return np.flatnonzero((spread > 255 * _FLAT).numpy())


def _among_few(prints: Prints, kinds: NDArray[Any], overlay: "_Overlay") -> Iterator[NDArray[np.int64]]:
    """Pairs of near-duplicates, looked for from every place that an image may have been moved to."""
    soft, blocks = _softened(prints), _Blocks.of(prints)
    axes, still = on_axes(spectra(prints))
    for move in overlay.moves:
        queries = still if move == (0, 0) else spectra(prints, move) @ axes
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *nearest_of_all(queries, still, kinds)])
        yield from _laid_over(soft, blocks, overlay, pairs, move)


def _confirmed(
    stack: _Stack, lively: NDArray[np.int64], batches: Iterable[NDArray[np.int64]], overlay: "_Overlay"
) -> Iterator[NDArray[np.int64]]:
    """Those of many pairs that are near-duplicates, some pairs at a time."""
    for pairs in batches:
        if len(pairs):
            prints = stack[lively[pairs.T.ravel()]]
            own = np.arange(len(prints)).reshape(2, -1).T
            for part in _laid_over(_softened(prints), _Blocks.of(prints), overlay, own, (0, 0)):
                yield pairs[part[:, 0]]


def _laid_over(
    soft: Grey, blocks: "_Blocks", overlay: "_Overlay", pairs: NDArray[np.int64], move: tuple[int, int]
) -> Iterator[NDArray[np.int64]]:
    """Those of some pairs that fit once the first is moved, and the second mirrored or not."""
    for mirrored in (False, True):
        alike = pairs[blocks.alike(pairs, move, mirrored=mirrored)]
        for part in np.split(alike, range(_AT_ONCE, len(alike), _AT_ONCE)) if len(alike) else ():
            one, other = soft[part[:, 0]], soft[part[:, 1]]
            close = overlay(one, other.flip(2) if mirrored else other, move, mirrored=mirrored)
            yield part[close.numpy()]


def _on_few_axes(stack: _Stack, lively: NDArray[np.int64]) -> Iterator[Float[Tensor, "rows axes"]]:
    """The spectra of all rows, some at a time, on the axes along which those of evenly chosen rows differ most."""
    chosen = lively[np.unique(np.linspace(0, len(lively) - 1, _MOST_MOVED).astype(np.int64))]
    axes, _ = on_axes(spectra(stack[chosen]))
    for part in np.split(lively, range(_MANY, len(lively), _MANY)):
        yield spectra(stack[part]) @ axes


def spectra(prints: Prints, move: tuple[int, int] = (0, 0)) -> Float[Tensor, "rows moduli"]:
    """Moduli of the low frequencies under a window that forgets the rim, on the unit sphere; a mirror changes none.

    Of two frequencies that mirroring exchanges, the larger and the smaller modulus are kept.
    """
    _, height, width = prints.shape
    window = torch.outer(*(torch.hann_window(side + 2, periodic=False)[1:-1].sqrt() for side in (height, width)))
    down, across = _waves(height)[_FREQUENCIES:], _waves(width)
    found = []
    for part in torch.split(prints, _AT_ONCE):
        grey = _moved(_soft(part), move)
        level = (grey * window).sum(dim=(1, 2), keepdim=True) / window.sum()
        waves = down @ ((grey - level) * window).to(down.dtype) @ across.T
        moduli, mirrored = waves.abs(), waves.abs().flip(2)
        pairs = torch.stack([torch.maximum(moduli, mirrored), torch.minimum(moduli, mirrored)])[..., _FREQUENCIES:]
        flat = pairs.movedim(1, 0).flatten(1)
        found.append(flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-9))
    return torch.cat(found)


def _waves(side: int) -> Tensor:
    """Complex (frequencies from −5 to 5, places)."""
    angle = 2 * torch.pi / side * torch.outer(torch.arange(-_FREQUENCIES, _FREQUENCIES + 1.0), torch.arange(side))
    return torch.polar(torch.ones_like(angle), -angle)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Means of the prints over blocks of `size` pixels, (rows, height, width): quick to lay over each other."""

    means: Grey
    size: int
    rim: int

    @classmethod
    def of(cls, prints: Prints) -> "_Blocks":
        """Blocks of two by two pixels; of small prints the pixels themselves."""
        size = 2 if min(prints.shape[1:]) >= _BLOCKED else 1
        means = torch.cat([avg_pool2d(_soft(part), size) for part in torch.split(prints, _AT_ONCE)])
        return cls(means, size, 2 if size == 2 else _farthest((prints.shape[1], prints.shape[2])))

    def alike(self, pairs: NDArray[np.int64], move: tuple[int, int], *, mirrored: bool) -> NDArray[np.bool_]:
        """Which pairs are worth a closer look, the first of them moved, the second mirrored."""
        down, right = (by // self.size for by in move)
        first = _standard(_window(self.means, (down, right), self.rim))
        second = _standard(_window(self.means.flip(2) if mirrored else self.means, (0, 0), self.rim))
        parts = np.split(pairs, range(_MANY, len(pairs), _MANY))
        return np.concatenate([_distance(first[part[:, 0]], second[part[:, 1]]).numpy() < _ROUGH for part in parts])


@dataclass(frozen=True)
class _Overlay:
    """One soft print laid over another, moved by up to `farthest` pixels and a `step` within a pixel."""

    farthest: int
    step: float

    @classmethod
    def of(cls, sides: tuple[int, int], shape: tuple[int, int]) -> "_Overlay":
        """Prints of larger images move by parts of a pixel: by what a pixel of the image is, or a quarter."""
        return cls(_farthest(sides), max(0.25, sides[0] / shape[0], sides[1] / shape[1]))

    @property
    def moves(self) -> list[tuple[int, int]]:
        """Places from which every move up to the farthest is a pixel away, the still one first."""
        far = self.farthest - 1
        steps = sorted({0, far, -far}, key=abs)
        return [(down, right) for down in steps for right in steps]

    def __call__(self, one: Grey, other: Grey, move: tuple[int, int], *, mirrored: bool) -> Tensor:
        """Which of one, once moved and up to a pixel further, are near-duplicates of the other.

        What is moved by part of a pixel is softened, so both are moved by half of it, away from each other.
        """
        still = _standard(_window(one, move, self.farthest))
        distances = _distances(still, _window(other, (0, 0), self.farthest - 1))
        nearest = distances.flatten(1).min(dim=1).values
        fits = nearest < CLOSE_WHEN_MOVED
        if move == (0, 0) and not mirrored:
            fits |= distances[:, 1, 1] < CLOSE
        near = torch.nonzero(~fits & (nearest < _NEAR))[:, 0]
        if self.step < 1 and len(near):
            one, other = one[near], other[near]
            most = int(1 / self.step)
            parts = [at * self.step for at in range(-most, most + 1)]
            fine = [self._apart(one, other, move, (down, right)) for down in parts for right in parts]
            fits[near] = torch.stack(fine).min(dim=0).values < CLOSE
        return fits

    def _apart(self, one: Grey, other: Grey, move: tuple[int, int], place: tuple[float, float]) -> Tensor:
        back = (move[0] - place[0] / 2, move[1] - place[1] / 2)
        forth = (place[0] / 2, place[1] / 2)
        return _distance(_standard(_window(one, back, self.farthest)), _window(other, forth, self.farthest))


def _farthest(sides: tuple[int, int]) -> int:
    return min(_FARTHEST, min(sides) // 8)


def _standard(inner: Grey) -> Grey:
    """Mean 0, deviation 1."""
    inner = inner - inner.mean(dim=(1, 2), keepdim=True)
    return inner / inner.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-6)


def _distance(standard: Grey, other: Grey) -> Float[Tensor, " rows"]:
    """Root mean square between prints, of which the other is standardised on the way: √(2 − 2 · correlation)."""
    pixels = standard.shape[1] * standard.shape[2]
    together = (standard * other).sum(dim=(1, 2)) / pixels
    variance = other.square().sum(dim=(1, 2)) / pixels - other.mean(dim=(1, 2)).square()
    return _from_correlation(together, variance)


def _distances(standard: Grey, wider: Grey) -> Float[Tensor, "rows 3 3"]:
    """Distances to the nine parts of prints that are wider by a pixel on every side, by how far down and right."""
    height, width = standard.shape[1:]
    means, squares = (_means_of_parts(values, height, width) for values in (wider, wider.square()))
    products = [
        (standard * wider[:, down : down + height, right : right + width]).sum(dim=(1, 2))
        for down in range(3)
        for right in range(3)
    ]
    together = torch.stack(products, dim=1).view(-1, 3, 3) / (height * width)
    return _from_correlation(together, squares - means.square())


def _means_of_parts(values: Grey, height: int, width: int) -> Float[Tensor, "rows 3 3"]:
    columns = torch.stack([values[:, down : down + height].sum(dim=1) for down in range(3)], dim=1)
    sums = [columns[:, :, right : right + width].sum(dim=2) for right in range(3)]
    return torch.stack(sums, dim=2) / (height * width)


def _from_correlation(together: Tensor, variance: Tensor) -> Tensor:
    return (2 - 2 * together / variance.clamp(min=1e-12).sqrt()).clamp(min=0).sqrt()


def _soft(prints: Prints) -> Grey:
    """Means of three by three pixels, in [0, 1]."""
    padded = pad((prints / 255)[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9


def _softened(prints: Prints) -> Grey:
    return torch.cat([_soft(part) for part in torch.split(prints, _AT_ONCE)])


def _moved(soft: Grey, move: tuple[int, int]) -> Grey:
    """Moved by whole pixels; what leaves is lost, and the edge is repeated."""
    rim = max(map(abs, move))
    return _window(pad(soft[:, None], (rim,) * 4, mode="replicate")[:, 0], move, rim) if rim else soft


def _window(soft: Grey, move: tuple[float, float], rim: int) -> Grey:
    """What a moved print shows inside its rim; at parts of a pixel neighbours are mixed."""
    for axis, by in zip((1, 2), move, strict=True):
        length, before = soft.shape[axis] - 2 * rim, math.floor(by)
        near = soft.narrow(axis, rim - before, length)
        soft = near if by == before else torch.lerp(near, soft.narrow(axis, rim - before - 1, length), by - before)
    return soft
