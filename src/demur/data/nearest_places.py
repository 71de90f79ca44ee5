"""The nearest few of many places, such as spectra of images: every place is compared with those asked.

Distances are worked out for some places at a time and forgotten but for the smallest of every bucket of places; the
nearest few lie in the buckets with the smallest ones, and are found in these.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

NEAREST = 6
_AXES = 16
_BUCKET = 64
_IN_CACHE = 64
_ASKED, _PLACES = 256, 4096
"""Rows and places of which distances are worked out at once: four megabytes."""


def on_axes(
    spectra: Float[Tensor, "rows moduli"],
) -> tuple[Float[Tensor, "moduli axes"], Float[Tensor, "rows axes"]]:
    """The axes along which spectra differ most, and where these are on them; distances need no centre."""
    covariance = torch.cov(spectra.T.double())
    axes = torch.linalg.eigh(covariance).eigenvectors[:, -_AXES:].float()
    return axes, spectra @ axes


def nearest_of_all(
    queries: Float[Tensor, "rows axes"], places: Float[Tensor, "rows axes"], kinds: NDArray[Any]
) -> Iterator[NDArray[np.int64]]:
    """The pairs (query, place) of the nearest few places of each query, where they are of different kinds."""
    spare = -len(places) % _BUCKET
    padded, most = pad(places, (0, 0, 0, spare)), min(NEAREST, len(places))
    squares = pad(places.square().sum(dim=1), (0, spare), value=torch.inf)
    for start in range(0, len(queries), _IN_CACHE):
        part = queries[start : start + _IN_CACHE]
        nearest = _smallest(torch.addmm(squares[None], part, padded.T, alpha=-2), most).numpy()
        pairs = np.stack([np.repeat(np.arange(start, start + len(part)), most), nearest.ravel()], axis=1)
        yield pairs[kinds[pairs[:, 0]] != kinds[pairs[:, 1]]]


def _smallest(values: Float[Tensor, "rows places"], most: int) -> Int64[Tensor, "rows most"]:
    """Where the smallest few values of each row are: in the buckets with the smallest minima, which are found first."""
    buckets = values.view(len(values), -1, _BUCKET)
    chosen = buckets.amin(dim=2).topk(min(most, buckets.shape[1]), largest=False).indices
    inside = buckets.gather(1, chosen[..., None].expand(-1, -1, _BUCKET)).flatten(1)
    found = inside.topk(most, largest=False).indices
    return chosen.gather(1, found // _BUCKET) * _BUCKET + found % _BUCKET


@dataclass(frozen=True, eq=False)
class PlacesByKind:
    """Places sorted by their kind, each kind in whole buckets, so that those of other kinds lie before and after it.

    Attributes:
        places: of all rows; zero where a bucket has no row.
        squares: their squared lengths; infinite where a bucket has no row.
        rows: the row of each place; -1 where a bucket has no row.
        ends: where the places of each kind end.
        counts: how many rows are of each kind.
    """

    places: Float[Tensor, "places axes"]
    squares: Float[Tensor, " places"]
    rows: NDArray[np.int32]
    ends: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Iterable[Float[Tensor, "rows axes"]], kinds: NDArray[np.int64]) -> "PlacesByKind":
        """The places of all rows, which come in parts; kinds are numbered from 0."""
        counts = np.bincount(kinds)
        ends = np.cumsum(-(-counts // _BUCKET) * _BUCKET)
        free = np.concatenate([[0], ends[:-1]])
        places, squares = torch.zeros(int(ends[-1]), _AXES), torch.full((int(ends[-1]),), torch.inf)
        rows, start = np.full(int(ends[-1]), -1, np.int32), 0
        for part in parts:
            own = kinds[start : start + len(part)]
            for kind in np.unique(own).tolist():
                chosen = np.flatnonzero(own == kind)
                here = slice(int(free[kind]), int(free[kind]) + len(chosen))
                places[here, : part.shape[1]] = part[torch.from_numpy(chosen)]
                squares[here] = places[here].square().sum(dim=1)
                rows[here] = start + chosen
                free[kind] = here.stop
            start += len(part)
        return cls(places, squares, rows, ends, counts)

    def batches(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The kind and the places of some rows, a few of one kind at a time."""
        every = np.flatnonzero(np.isin(self.rows, rows))
        for kind, places in enumerate(np.split(every, np.searchsorted(every, self.ends))):
            yield from ((kind, part) for part in np.split(places, range(_ASKED, len(places), _ASKED)) if len(part))

    def others(self, kind: int) -> Iterator[slice]:
        """The places of other kinds, some at a time."""
        own = slice(int(self.ends[kind - 1]) if kind else 0, int(self.ends[kind]))
        for begin, end in ((0, own.start), (own.stop, len(self.places))):
            yield from (slice(start, min(start + _PLACES, end)) for start in range(begin, end, _PLACES))


def nearest_of_some(among: PlacesByKind, asked: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The pairs (row, row) of each row that is asked with the nearest few of other kinds.

    However many of its own kind lie nearer, a row has as many pairs as any other.
    """
    for kind, here in among.batches(asked):
        most = min(NEAREST, int(among.counts.sum() - among.counts[kind]))
        if most:
            nearest = _nearest(among, kind, here, most).numpy()
            yield np.stack([np.repeat(among.rows[here], most), among.rows[nearest.ravel()]], axis=1).astype(np.int64)


def _nearest(among: PlacesByKind, kind: int, asked: NDArray[np.int64], most: int) -> Int64[Tensor, "asked most"]:
    """The nearest few places of other kinds; those of every kind are a whole number of buckets."""
    queries, squares = among.places[torch.from_numpy(asked)], among.squares
    minima = torch.full((len(asked), len(squares) // _BUCKET), torch.inf)
    for part in among.others(kind):
        values = torch.addmm(squares[None, part], queries, among.places[part].T, alpha=-2)
        minima[:, part.start // _BUCKET : part.stop // _BUCKET] = values.view(len(asked), -1, _BUCKET).amin(dim=2)
    buckets = sum(part.stop - part.start for part in among.others(kind)) // _BUCKET
    chosen = minima.topk(min(most, buckets), largest=False).indices
    inside = torch.einsum("qa,qbka->qbk", queries, among.places.view(-1, _BUCKET, _AXES)[chosen])
    values = (squares.view(-1, _BUCKET)[chosen] - 2 * inside).flatten(1)
    found = values.topk(most, largest=False).indices
    return chosen.gather(1, found // _BUCKET) * _BUCKET + found % _BUCKET
