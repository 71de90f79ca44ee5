"""Colours on images of any number of channels."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

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
