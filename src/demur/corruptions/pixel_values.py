"""Colours and pieces of images that several corruptions share."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from demur.randomness import Keys
from demur.shapes import Images

_LUMINANCE = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in perceived brightness: ITU-R BT.601."""


def grey(x: Images) -> Images:
    """The brightness of each pixel, as one channel: of red, green and blue by luminance, else the mean."""
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:]
    return (_LUMINANCE[0] * red).add_(green, alpha=_LUMINANCE[1]).add_(blue, alpha=_LUMINANCE[2])


def paint(colour: Sequence[float], x: Images) -> Float[Tensor, "channels 1 1"]:
    """A colour in the channels of `x`: as it is in three, as its brightness in any other number."""
    if x.shape[1] != 3:
        colour = [sum(share * part for share, part in zip(_LUMINANCE, colour, strict=True))] * x.shape[1]
    return torch.tensor(colour, dtype=x.dtype, device=x.device)[:, None, None]


_VALUES = 2**18


def in_parts(corrupt: Callable[[Images, Keys], Images], x: Images, keys: Keys) -> Images:
    """The corrupted images, made few enough at a time for what lies between input and output to stay in the caches.

    A row of 224 pixels goes alone, rows of 32 pixels go by 85; a row's bytes must not depend on it.
    """
    count = max(1, _VALUES // max(x[:1].numel(), 1))
    out = torch.empty_like(x)
    for first in range(0, len(x), count):
        part = slice(first, first + count)
        out[part] = corrupt(x[part], keys.rows(range(len(x))[part]))
    return out
