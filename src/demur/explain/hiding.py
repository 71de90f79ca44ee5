"""Hiding the object or the background of an image."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demur.explain.weights import Side
from demur.filters.gaussian import gaussian
from demur.shapes import Images

By: TypeAlias = Literal["blur", "mean"]
"""What hides a part: a strong blur, or the mean colour of the part that stays."""

_STRENGTH = 1 / 8


def hidden(images: Images, mask: Bool[Tensor, "rows height width"], part: Side, by: By) -> Images:
    """The images with one part hidden; the other stays as it is, bit for bit.

    `blur` is a normal filter of one eighth of the short side, `mean` the image's own mean colour of the part that
    stays, so that no new colour comes in. An image whose mask is all one value has no two parts and stays as it is.

    Args:
        images: in [0, 1].
        mask: true on the object.
        part: what to hide.
        by: what to hide it with.
    """
    gone = mask if part == "object" else ~mask
    gone = (gone & ~gone.all(dim=2).all(dim=1)[:, None, None])[:, None]
    return torch.where(gone, _cover(images, ~gone, by), images)


def _cover(images: Images, stays: Bool[Tensor, "rows 1 height width"], by: By) -> Images:
    if by == "blur":
        return gaussian(images, min(images.shape[2:]) * _STRENGTH).clamp(0, 1)
    return _mean_colour(images, stays).to(images).expand_as(images)


def _mean_colour(images: Images, stays: Bool[Tensor, "rows 1 height width"]) -> Float[Tensor, "rows channels 1 1"]:
    """Over lines first: how the sum over all pixels of a single image is rounded depends on the number of threads."""
    total = (images.double() * stays).sum(dim=3, keepdim=True).sum(dim=2, keepdim=True)
    return total / stays.sum(dim=(2, 3), keepdim=True)
