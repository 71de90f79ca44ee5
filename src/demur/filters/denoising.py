"""Filters that lose detail: median, non-local means, JPEG."""

from io import BytesIO

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from demur.filters.convolution import Edges, pad
from demur.shapes import Images


def median_filter(x: Images, size: int = 3, edges: Edges = "reflect") -> Images:
    """The median of a square of `size` × `size` pixels, each channel alone.

    An even square reaches one pixel further up and left, and its median is the upper of the middle two, as in
    `scipy.ndimage.median_filter`. Selection keeps half the square and one more, and forgets the least and the greatest
    as it goes, by comparisons only: gradients pass and every exporter knows them.
    """
    before, after = size // 2, size - 1 - size // 2
    padded = pad(x, (before, after), (before, after), edges)
    height, width = x.shape[2:]
    planes = [_window(padded, (top, left), (height, width)) for top in range(size) for left in range(size)]
    if len(planes) % 2 == 0:
        planes.append(torch.full_like(x, torch.inf))
    return _middle(planes)


def _middle(planes: list[Images]) -> Images:
    """The middle one of an odd number of values, place by place."""
    if len(planes) == 1:
        return planes[0]
    held = len(planes) // 2 + 2
    kept = _without_extremes(planes[:held])
    for plane in planes[held:]:
        kept = _without_extremes([*kept, plane])
    return kept[0]


def _without_extremes(planes: list[Images]) -> list[Images]:
    least, middle = planes[0], []
    for plane in planes[1:]:
        least, larger = torch.minimum(least, plane), torch.maximum(least, plane)
        middle.append(larger)
    greatest, kept = middle[0], []
    for plane in middle[1:]:
        kept.append(torch.minimum(greatest, plane))
        greatest = torch.maximum(greatest, plane)
    return kept


def non_local_means(
    x: Images, *, patch: int = 3, search: int = 13, strength: float = 2 / 255, edges: Edges = "mirror"
) -> Images:
    """Each pixel becomes the mean of its `search` × `search` neighbours, weighted by how alike their patches are.

    The weight is exp(−d²/strength²), d² the mean squared difference of two `patch` × `patch` patches over pixels and
    channels, so `strength` is a difference of pixel values; the sizes are odd.
    Buades et al. (2005), "A non-local algorithm for image denoising".
    """
    reach, half = search // 2, patch // 2
    height, width = x.shape[2:]
    around = pad(x, (reach + half,) * 2, (reach + half,) * 2, edges)
    whole = height + 2 * half, width + 2 * half
    patches = _window(around, (reach, reach), whole)
    total = x.new_zeros(x.shape)
    weights = x.new_zeros((x.shape[0], 1, height, width))
    for down in range(search):
        for right in range(search):
            moved = _window(around, (down, right), whole)
            apart = _box_mean((patches - moved).square().mean(dim=1, keepdim=True), patch)
            weight = (apart / -(strength**2)).exp()
            total = total + weight * _window(moved, (half, half), (height, width))
            weights = weights + weight
    return total / weights


def _window(x: Images, corner: tuple[int, int], size: tuple[int, int]) -> Images:
    """The part of images at a corner (top, left); by as few operations as there can be, for they are all exported."""
    return x.narrow(2, corner[0], size[0]).narrow(3, corner[1], size[1])


def _box_mean(x: Images, size: int) -> Images:
    """Mean over each `size` × `size` square that lies wholly inside."""
    height, width = x.shape[2] - size + 1, x.shape[3] - size + 1
    rows = sum((x.narrow(2, top, height) for top in range(1, size)), start=x.narrow(2, 0, height))
    both = sum((rows.narrow(3, left, width) for left in range(1, size)), start=rows.narrow(3, 0, width))
    return both / size**2


def jpeg(x: Images, quality: int) -> Images:
    """The images after 8-bit JPEG at a quality from 1 to 95, by Pillow, with its halved colour resolution.

    Three channels are one colour picture; any other number of channels is as many grey pictures. Gradients do not pass.
    """
    eight_bits = (x.detach() * 255).round_().to("cpu", torch.uint8)
    if x.shape[1] == 3:
        found = _coded(eight_bits.permute(0, 2, 3, 1), quality).permute(0, 3, 1, 2)
    else:
        found = _coded(eight_bits.flatten(0, 1), quality).view(x.shape)
    return found.contiguous().to(x).div_(255)


def _coded(
    pictures: UInt8[Tensor, "some tall wide *colours"], quality: int
) -> UInt8[Tensor, "some tall wide *colours"]:
    out = pictures.numpy(force=True).copy(order="C")
    for picture in out:
        buffer = BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
        picture[...] = Image.open(buffer)
    return torch.from_numpy(out)
