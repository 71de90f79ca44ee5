"""Median filter."""

import torch

from demur.filters.edges import Edges, pad
from demur.shapes import Images


def median(x: Images, size: int = 3, edges: Edges = "reflect") -> Images:
    """The median of a square of `size` × `size` pixels, each channel alone.

    An even square reaches one pixel further up and left, and its median is the upper of the middle two, as in
    `scipy.ndimage.median_filter`. Selection keeps half the square and one more, and forgets the least and the greatest
    as it goes, by comparisons only: gradients pass and every exporter knows them.
    """
    before, after = size // 2, size - 1 - size // 2
    padded = pad(x, (before, after), (before, after), edges)
    height, width = x.shape[2:]
    planes = [padded[:, :, top : top + height, left : left + width] for top in range(size) for left in range(size)]
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
