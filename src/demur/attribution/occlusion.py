"""Occluding the object or the background of an image, and weighting either in a search."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demur.attribution.localisation import OBJECT
from demur.filters.convolution import gaussian_filter
from demur.filters.sampling import resize
from demur.shapes import Flags, Heat, Images

Side: TypeAlias = Literal["object", "background"]
"""Either part of an image."""

Part: TypeAlias = Literal["whole"] | Side
"""What of an image is meant."""


def enlarge(heat: Heat, size: tuple[int, int]) -> Float[Tensor, "rows tall wide"]:
    """The maps at the size (height, width) of the images, bilinear between the centres of their cells."""
    return resize(heat[:, None], size)[:, 0]


def weights(heat: Heat, part: Part) -> Float[Tensor, "rows 1 height width"]:
    """What each pixel is worth, one on average: high where the part is.

    The object is the map scaled to reach from 0 to 1, the background is 1 minus that, either divided by its mean. A
    mark counts as a map that is 1 on the object: its pixels are worth alike, the others nothing. Ones for the whole,
    and for both parts of a map without `parts`.
    """
    if part == "whole":
        return torch.ones_like(heat)[:, None]
    mass = heat.double()
    low, high = mass.amin(dim=(1, 2), keepdim=True), mass.amax(dim=(1, 2), keepdim=True)
    scaled = (mass - low) / (high - low)
    side = scaled if part == "object" else 1 - scaled
    # Over lines first: how the sum over all pixels of a single row is rounded depends on the number of threads.
    weighed = side / side.mean(dim=2, keepdim=True).mean(dim=1, keepdim=True)
    return weighed.where(high > low, 1).to(heat)[:, None]


def has_both_parts(heat: Heat | Bool[Tensor, "rows height width"]) -> Flags:
    """Which rows have an object and a background: not those whose map is flat or whose mask is all one value."""
    return heat.amax(dim=(1, 2)) > heat.amin(dim=(1, 2))


def object_mask(heat: Heat) -> Bool[Tensor, "rows height width"]:
    """The object as a map sees it: pixels with a fifth of its maximum or more; none where it is zero everywhere."""
    mass = heat.double()
    return (mass >= OBJECT * mass.amax(dim=(1, 2), keepdim=True)) & (mass > 0)


OccludedBy: TypeAlias = Literal["blur", "mean"]
"""What hides a part: a strong blur, or the mean colour of the part that stays."""

_STRENGTH = 1 / 8


def occlude(images: Images, mask: Bool[Tensor, "rows height width"], part: Side, by: OccludedBy) -> Images:
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


def _cover(images: Images, stays: Bool[Tensor, "rows 1 height width"], by: OccludedBy) -> Images:
    if by == "blur":
        return gaussian_filter(images, min(images.shape[2:]) * _STRENGTH).clamp(0, 1)
    return _mean_colour(images, stays).to(images).expand_as(images)


def _mean_colour(images: Images, stays: Bool[Tensor, "rows 1 height width"]) -> Float[Tensor, "rows channels 1 1"]:
    """Over lines first: how the sum over all pixels of a single image is rounded depends on the number of threads."""
    total = (images.double() * stays).sum(dim=3, keepdim=True).sum(dim=2, keepdim=True)
    return total / stays.sum(dim=(2, 3), keepdim=True)
