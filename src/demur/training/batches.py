"""The images a training learns from, in batches: held in memory where they fit, else streamed, and augmented."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from demur.data import Row, Source
from demur.errors import DataError, InputError
from demur.shapes import Images, Labels

CAP = 1 << 30
"""Bytes of images held in memory at most; 8-bit images count one byte per pixel and channel, others four."""

POOL = 1 << 28
"""Bytes of images that are shuffled together where the set is streamed."""

WINDOW = 32
"""Rows that are read one after another where the set is streamed, so that packed files are opened rarely."""

Batch = tuple[Images, Labels]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """A set to learn from.

    Attributes:
        counts: images per class, by class id.
        rows: an epoch's rows in an order drawn from the dice.
        size: how many rows an epoch has.
        memory: the rows in the order of the set; None where they are streamed.
    """

    counts: Tensor
    rows: Callable[[torch.Generator], Iterator[tuple[Tensor, int]]]
    size: int
    memory: Sequence[tuple[Tensor, int]] | None = None

    def steps(self, batch: int) -> int:
        """Steps per epoch."""
        return self.size // min(batch, self.size)

    def batches(self, batch: int, dice: torch.Generator) -> Iterator[Batch]:
        """An epoch; an incomplete last batch is left out."""
        rows, size = self.rows(dice), min(batch, self.size)
        while len(chosen := list(islice(rows, size))) == size:
            images = torch.stack([unpack(image) for image, _ in chosen])
            yield images, torch.tensor([label for _, label in chosen])


def gather(source: Source, positions: Sequence[int], labels: Tensor, cap: int = CAP) -> TrainingImages:
    """The training images in some readable rows of a source, whose labels are known.

    Raises:
        DataError: there are no rows, or a class has none.
    """
    counts = torch.bincount(labels, minlength=len(source.classes))
    _check(counts, source)
    memory = _in_memory(source, positions, cap)
    if memory is None:
        return TrainingImages(counts, lambda dice: _stream(source, torch.tensor(positions), dice), len(positions))
    return TrainingImages(counts, lambda dice: shuffle(memory, dice), len(memory), memory)


def _check(counts: Tensor, source: Source) -> None:
    if not counts.sum():
        raise DataError(f"{source.address} has no images to learn from.")
    empty = [repr(source.classes[k]) for k in torch.nonzero(counts == 0).flatten().tolist()]
    if empty:
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise DataError(
            f"every class needs images to learn from; {source.address} has none of {', '.join(empty[:5])}{more} among "
            f"the {int(counts.sum())} set aside for training. Add some, or leave the class out."
        )


def _in_memory(source: Source, positions: Sequence[int], cap: int) -> list[tuple[Tensor, int]] | None:
    """All rows, or None where they need more than `cap` bytes."""
    room = cap
    if len(positions) * prod(source.input_shape) > room:
        return None
    rows = []
    for image, label in _readable(source.read(positions)):
        room -= image.nbytes
        if room < 0:
            return None
        rows.append((image, label))
    return rows


def shuffle(rows: Sequence[tuple[Tensor, int]], dice: torch.Generator) -> Iterator[tuple[Tensor, int]]:
    """Rows in an order drawn from the dice."""
    return (rows[k] for k in torch.randperm(len(rows), generator=dice).tolist())


def _stream(source: Source, positions: Tensor, dice: torch.Generator) -> Iterator[tuple[Tensor, int]]:
    """Windows in random order, a pool of them at a time in memory, the pool's rows in random order."""
    windows = torch.split(positions, WINDOW)
    together = max(1, POOL // (WINDOW * prod(source.input_shape)))
    for chosen in torch.split(torch.randperm(len(windows), generator=dice), together):
        order = torch.cat([windows[k] for k in chosen.tolist()]).tolist()
        yield from shuffle(list(_readable(source.read(order))), dice)


def _readable(rows: Iterator[Row]) -> Iterator[tuple[Tensor, int]]:
    return ((_pack(row.image), row.label) for row in rows if row.image is not None)


def _pack(image: Tensor) -> Tensor:
    """As bytes where nothing is lost by it."""
    small = (image * 255).round().to(torch.uint8)
    return small if torch.equal(unpack(small), image) else image


def unpack(image: Tensor) -> Tensor:
    """A row's image as numbers."""
    return image.float() / 255 if image.dtype == torch.uint8 else image


def random_mirror(images: Images, dice: torch.Generator) -> Images:
    """Each image mirrored left to right with probability one half."""
    turned = torch.rand(len(images), generator=dice) < 0.5
    return torch.where(turned.view(-1, 1, 1, 1), images.flip(3), images)


def random_shift(images: Images, pixels: int, dice: torch.Generator) -> Images:
    """Each image moved by up to `pixels` along each axis, uniformly; what moves in is zero."""
    rows, channels, height, width = images.shape
    top, left = torch.randint(2 * pixels + 1, (2, rows, 1), generator=dice)
    lines = (top + torch.arange(height)).view(rows, 1, height, 1)
    columns = (left + torch.arange(width)).view(rows, 1, 1, width)
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    return padded[torch.arange(rows).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1), lines, columns]


@contextmanager
def seeded_torch(seed: int) -> Iterator[torch.Generator]:
    """A generator on `seed`; layers that draw from the global stream (initial weights, dropout) repeat inside."""
    if not -(2**63) <= seed < 2**63:
        raise InputError(f"a seed is a whole number of at most 64 bits; got {seed}. Give a smaller one.")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def fresh(factory: Callable[[], T], seed: int) -> T:
    """What a factory makes, with initial weights that depend on `seed` alone."""
    with seeded_torch(seed):
        return factory()
