"""The nearest few of many places, such as spectra of images: every place is compared with those asked.

Distances are worked out for some places at a time and forgotten but for the smallest of every bucket of places; the
nearest few lie in the buckets with the smallest ones, and are found in these.
"""

from collections.abc import Iterator
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


def nearest_of_some(
    places: Float[Tensor, "rows axes"], asked: NDArray[np.int64], kinds: NDArray[Any]
) -> Iterator[NDArray[np.int64]]:
    """The pairs (row, place) of the nearest few places of each row that is asked, where they are of different kinds."""
    padded = pad(places, (0, 0, 0, -len(places) % _BUCKET))
    squares = pad(places.square().sum(dim=1), (0, len(padded) - len(places)), value=torch.inf)
    for start in range(0, len(asked), _ASKED):
        rows = asked[start : start + _ASKED]
        nearest = _nearest(padded[torch.from_numpy(rows)], padded, squares, min(NEAREST, len(places)))
        pairs = np.stack([np.repeat(rows, nearest.shape[1]), nearest.numpy().ravel()], axis=1)
        yield pairs[kinds[pairs[:, 0]] != kinds[pairs[:, 1]]]


def _nearest(
    queries: Float[Tensor, "asked axes"], places: Float[Tensor, "rows axes"], squares: Float[Tensor, " rows"], most: int
) -> Int64[Tensor, "asked most"]:
    """The nearest few places; their number is a whole one of buckets."""
    minima = torch.empty(len(queries), len(places) // _BUCKET)
    for start in range(0, len(places), _PLACES):
        part = slice(start, start + _PLACES)
        values = torch.addmm(squares[None, part], queries, places[part].T, alpha=-2)
        own = slice(start // _BUCKET, (start + values.shape[1]) // _BUCKET)
        minima[:, own] = values.view(len(queries), -1, _BUCKET).amin(dim=2)
    chosen = minima.topk(min(most, minima.shape[1]), largest=False).indices
    inside = torch.einsum("qa,qbka->qbk", queries, places.view(-1, _BUCKET, places.shape[1])[chosen])
    values = (squares.view(-1, _BUCKET)[chosen] - 2 * inside).flatten(1)
    found = values.topk(most, largest=False).indices
    return chosen.gather(1, found // _BUCKET) * _BUCKET + found % _BUCKET
