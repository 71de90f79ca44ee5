"""Histograms of the activations of each image, and the edges of their bins."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_LEAST, _MOST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
_HARDLY = 1e-9
"""Of a value, the least that a soft bin holds: the slope of its entropy stays finite."""

_VALUES = 1024
"""Values of one row that the edges of bins are learned from."""


def counts_in(values: Tensor, edges: Tensor) -> Tensor:
    """How many values (rows, values) of each row fall into each bin, (rows, bins), float64.

    Bins hold their lower edge, the last its upper one too, and what lies outside is not counted: as `numpy.histogram`.
    """
    if torch.compiler.is_exporting():  # a graph cannot leave torch
        return _counts_by_lookup(values.double(), edges)
    values = values if values.dtype in (torch.float32, torch.float64) else values.float()
    ordered = torch.from_numpy(np.sort(values.detach().numpy(), axis=1))  # several times faster than to look values up
    return torch.searchsorted(ordered, _cuts(edges, values.dtype).repeat(len(values), 1)).diff(dim=1).double()


def _cuts(edges: Tensor, dtype: torch.dtype) -> Tensor:
    """The smallest numbers of a type that lie on or above each edge, and above the last: a bin is [cut, next cut)."""
    nearest, top = edges.to(dtype), torch.tensor(torch.inf, dtype=dtype)
    cuts = torch.where(nearest.double() < edges, torch.nextafter(nearest, top), nearest)
    return torch.cat(
        [cuts[:-1], torch.where(cuts[-1:].double() == edges[-1:], torch.nextafter(cuts[-1:], top), cuts[-1:])]
    )


def _counts_by_lookup(values: Tensor, edges: Tensor) -> Tensor:
    bins = len(edges) - 1
    place = torch.bucketize(values, edges, right=True) - 1
    place = torch.where(values == edges[-1], bins - 1, place)
    outside = (place < 0) | (place >= bins)
    counts = torch.zeros(values.shape[0], bins + 1, dtype=torch.float64)
    counts.scatter_add_(1, torch.where(outside, bins, place), torch.ones(values.shape, dtype=torch.float64))
    return counts[:, :bins]


def soft_counts_in(values: Tensor, edges: Tensor) -> Tensor:
    """The same counts with edges that are sigmoids, so that autograd follows values; of at most 1,024 of each row.

    Each edge is as wide as a quarter of the smaller of the bins that it parts. What parts zeros from positive values is
    moved up into the first bin of those, where there is something to follow.
    """
    values, inner = thinned(values).double(), edges.clone()
    if len(edges) > 3 and float(edges[0]) == 0 and float(edges[1]) <= _LEAST:
        inner[1] = edges[2] / 4
    gaps = inner.diff().clamp(max=float(inner[-2] - inner[0]) + _LEAST)
    widths = torch.minimum(torch.cat([gaps[:1], gaps]), torch.cat([gaps, gaps[-1:]])) / 4
    above = [((values - edge) / width).sigmoid().sum(dim=1) for edge, width in zip(inner, widths, strict=True)]
    above[0] = (values >= edges[0]).double().sum(dim=1) if float(edges[0]) == 0 else above[0]
    return -torch.stack(above, dim=1).diff(dim=1).clamp(max=-_HARDLY)


def entropy_of(counts: Tensor) -> Tensor:
    """−Σ p ln p over the last axis, in nats; 0 where nothing was counted."""
    p = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.special.entr(p).sum(dim=-1)


def quantile_edges(batches: Sequence[Tensor], bins: int) -> Tensor:
    """Edges of a bin for values at 0 and of others that hold equally many of the positive values, however large.

    Equal quantiles become one edge, so there may be fewer bins.
    """
    values = torch.cat([batch.flatten() for batch in batches]).double()
    positive = values[values > _LEAST]
    if not len(positive):
        return torch.tensor([0.0, _LEAST, _MOST]).double()
    inner = torch.quantile(positive[:: 1 + len(positive) // 2**24], torch.arange(1, bins - 1).double() / (bins - 1))
    return torch.cat([torch.tensor([0.0, _LEAST]).double(), torch.unique(inner), torch.tensor([_MOST]).double()])


def uniform_edges(batches: Sequence[Tensor], bins: int) -> Tensor:
    """Edges of bins of one width from 0 to the largest value of all; the last bin holds whatever is larger."""
    largest = max(float(batch.max()) for batch in batches)
    edges = torch.linspace(0, largest if largest > _LEAST else 1.0, bins + 1, dtype=torch.float64)
    return torch.cat([edges[:-1], torch.tensor([_MOST]).double()])


def thinned(values: Tensor) -> Tensor:
    """At most 1,024 values of each row (rows, values), evenly apart: enough to place the edges of bins."""
    return values[:, :: 1 + (values.shape[1] - 1) // _VALUES].clone()
