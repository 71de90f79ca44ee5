"""Whether images that follow one another are more alike than chance would make them, as in bursts and video.

Images are independent where their order says nothing. They are put in order (by capture time, else by name with its
numbers as numbers) within each class, and neighbours are compared with pairs half a class apart: one neighbour in
twenty is nearer than 19 in 20 of these if the order says nothing, nearly all are in a video.
Permutation test: Good (2005), "Permutation, parametric and bootstrap tests of hypotheses".
"""

import heapq
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

NEAREST = 0.05
"""The share of the pairs far apart that counts as alike."""
_FEWEST = 50
MOST = 20_000
"""Rows that are compared, the first so many in order."""
_PERMUTATIONS = 99
_LAGS = 4
_LAST_NUMBER = re.compile(r"(?s)^(.*?)([0-9]+)([^0-9]*)$")


@dataclass(frozen=True)
class Neighbours:
    """How alike the images next to each other are.

    Attributes:
        pairs: neighbours of one class with different contents.
        alike: how many of them are nearer than 19 of 20 pairs half a class apart.
        p_value: how often a random order has as many; NaN where there are too few pairs to say.
    """

    pairs: int
    alike: int
    p_value: float


def order_of(names: Sequence[str], times: NDArray[np.float64], most: int | None = None) -> NDArray[np.int64]:
    """The rows by capture time where nine of ten have one, else by name, numbers by their value; the first so many."""
    if len(times) and np.isfinite(times).mean() >= 0.9 and np.nanmin(times) < np.nanmax(times):
        return np.argsort(times, kind="stable")[:most]
    count = len(names) if most is None else min(most, len(names))
    return np.array(heapq.nsmallest(count, range(len(names)), key=lambda row: _natural(names[row])), np.int64)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Text and numbers in turn, so that frame_9 comes before frame_10."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), len(part), "") if at % 2 else (0, 0, part) for at, part in enumerate(parts)]


def neighbours(
    spectra: Float[Tensor, "rows moduli"],
    labels: NDArray[np.int64],
    contents: Sequence[str],
    order: NDArray[np.int64],
) -> Neighbours:
    """Compare neighbours in this order; equal contents are copies, which stay together anyway.

    Of more than 20,000 rows the first so many in order are compared.
    """
    order = order[:MOST]
    places, names = spectra.numpy().astype(np.float32), np.unique(np.asarray(contents), return_inverse=True)[1]
    pairs, alike = _alike(places, labels, names, order)
    if pairs < _FEWEST:
        return Neighbours(pairs, 0, float("nan"))
    draw = np.random.default_rng(0)
    chance = [_alike(places, labels, names, draw.permutation(order))[1] for _ in range(_PERMUTATIONS)]
    as_many = sum(count >= alike for count in chance)
    return Neighbours(pairs, alike, (1 + as_many) / (1 + _PERMUTATIONS))


def _alike(
    places: NDArray[np.float32], labels: NDArray[np.int64], names: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[int, int]:
    """How many neighbours there are, and how many are nearer than nearly all pairs half a class apart."""
    near = _pairs(labels, names, order, 0)
    far = np.concatenate([_pairs(labels, names, order, lag) for lag in range(1, 1 + _LAGS)])
    if not len(near) or not len(far):
        return len(near), 0
    limit = np.quantile(_distances(places, far), NEAREST)
    return len(near), int((_distances(places, near) <= limit).sum())


def _pairs(
    labels: NDArray[np.int64], names: NDArray[np.int64], order: NDArray[np.int64], lag: int
) -> NDArray[np.int64]:
    """The pairs (row, next row of its class); with a lag, the row half a class and so many further on."""
    within = order[np.argsort(labels[order], kind="stable")]
    sizes = np.unique(labels[within], return_counts=True)[1]
    size = np.repeat(sizes, sizes)
    place = np.arange(len(within)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    step = np.full(len(within), 1) if lag == 0 else size // 2 + lag - 1
    first = np.flatnonzero((place + step < size) & (step > 0))
    pairs = np.stack([within[first], within[first + step[first]]], axis=1)
    return pairs[names[pairs[:, 0]] != names[pairs[:, 1]]]


def _distances(places: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.asarray(np.square(places[pairs[:, 0]] - places[pairs[:, 1]]).sum(axis=1), np.float32)


@dataclass(frozen=True)
class Series:
    """What file names tell of series, such as the frames of several videos.

    Attributes:
        series: how many names there are without their last number.
        largest: the most images of one of them.
        pattern: a pattern for `?group=` that makes a group of each; None where there would be one a folder, or none.
    """

    series: int
    largest: int
    pattern: str | None


def series_of(names: Sequence[str]) -> Series:
    """Names but for their last number and what follows it, counted by 64 bits of each, which differ."""
    heads, folders, nameless = array("q"), array("q"), False
    for match in filter(None, map(_LAST_NUMBER.match, names)):
        heads.append(hash(match[1]))
        folders.append(hash(match[1].rpartition("/")[0]))
        nameless |= not match[1]
    counts = np.unique(np.array(heads, np.int64), return_counts=True)[1]
    telling = len(np.unique(folders)) < len(counts) <= len(heads) / 2 and len(heads) == len(names)
    pattern = r"^(.*?)[0-9]+[^0-9]*$" if telling and not nameless else None
    return Series(len(counts), int(counts.max(initial=0)), pattern)
