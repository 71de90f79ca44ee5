"""Sums of pixels by a sparse table of weights."""

import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from demur.shapes import Images

_LANES = 16
_TOGETHER = 48


def mixed(x: Images, shares: csr_array) -> Images:
    """Each pixel becomes the sum of pixels weighted by its row of `shares`; pixels are counted row by row.

    Every plane of every image is mixed alike, so planes lie side by side in memory, as many as suit the processor's
    caches; their number is filled up to whole vectors so that none is rounded otherwise than its neighbour.
    """
    planes = x.flatten(0, 1).flatten(1)
    out = torch.empty_like(planes)
    for first in range(0, len(planes), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        out[some] = _planes(planes[some], shares)
    return out.view(x.shape)


def _planes(planes: Float[Tensor, "some before"], shares: csr_array) -> Float[Tensor, "some after"]:
    side_by_side = pad(planes.T, (0, -len(planes) % _LANES)).contiguous()
    places, begins, weights = (torch.from_numpy(part) for part in (shares.indices, shares.indptr, shares.data))
    found = embedding_bag(
        places.to(planes.device),
        side_by_side,
        begins.to(planes.device),
        mode="sum",
        per_sample_weights=weights.to(planes),
        include_last_offset=True,
    )
    return found[:, : len(planes)].T
