"""Histograms of many values at once, and their entropy."""

from collections.abc import Sequence

import torch
from torch import Tensor

_LEAST, _MOST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
_VALUES = 1024
"""Values of one row that the edges of bins are learned from."""


def counts_in(values: Tensor, edges: Tensor) -> Tensor:
    """How many values (rows, values) of each row fall into each bin, (rows, bins), float64.

    Bins hold their lower edge, the last its upper one too, and what lies outside is not counted: as `numpy.histogram`.
    """
    bins, values = len(edges) - 1, values.double()  # else the last edge would be rounded to the type of the values
    place = torch.bucketize(values, edges, right=True) - 1
    place = torch.where(values == edges[-1], bins - 1, place)
    outside = (place < 0) | (place >= bins)
    counts = torch.zeros(len(values), bins + 1, dtype=torch.float64)
    counts.scatter_add_(1, torch.where(outside, bins, place), torch.ones(values.shape, dtype=torch.float64))
    return counts[:, :bins]


def entropy_of(counts: Tensor) -> Tensor:
    """−Σ p ln p over the last axis, in nats; 0 where nothing was counted."""
    p = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.special.entr(p).sum(dim=-1)


def quantile_edges(batches: Sequence[Tensor], bins: int) -> Tensor:
    """Edges of a bin for values at 0 and of others that hold equally many of the positive values, however large.

    Equal quantiles become one edge, so there may be fewer bins.
    """
    seen = torch.cat([values.flatten() for values in batches]).double()
    positive = seen[seen > _LEAST]
    if not len(positive):
        return torch.tensor([0.0, _LEAST, _MOST]).double()
    inner = torch.quantile(positive[:: 1 + len(positive) // 2**24], torch.arange(1, bins - 1).double() / (bins - 1))
    return torch.cat([torch.tensor([0.0, _LEAST]).double(), torch.unique(inner), torch.tensor([_MOST]).double()])


def thinned(values: Tensor) -> Tensor:
    """At most 1,024 values of each row (rows, values), evenly apart: enough to place the edges of bins."""
    return values[:, :: 1 + (values.shape[1] - 1) // _VALUES].clone()
