"""Zoom."""

import math

from torch.nn.functional import interpolate

from demur.shapes import Images


def zoom(x: Images, factor: float) -> Images:
    """The middle of the images enlarged by `factor` ≥ 1 to the whole, bilinear between the centres of corner pixels."""
    height, width = x.shape[2:]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    middle = _middle(x, rows, columns)
    size = (round(rows * factor), round(columns * factor))
    return _middle(interpolate(middle, size=size, mode="bilinear", align_corners=True), height, width)


def _middle(x: Images, height: int, width: int) -> Images:
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]
