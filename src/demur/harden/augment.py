"""Random views of training images."""

import torch
from torch.nn import functional

from demur.shapes import Images


def mirrored(images: Images, dice: torch.Generator) -> Images:
    """Each image mirrored left to right with probability one half."""
    turned = torch.rand(len(images), generator=dice) < 0.5
    return torch.where(turned.view(-1, 1, 1, 1), images.flip(3), images)


def shifted(images: Images, pixels: int, dice: torch.Generator) -> Images:
    """Each image moved by up to `pixels` along each axis, uniformly; what moves in is zero."""
    rows, channels, height, width = images.shape
    top, left = torch.randint(2 * pixels + 1, (2, rows, 1), generator=dice)
    lines = (top + torch.arange(height)).view(rows, 1, height, 1)
    columns = (left + torch.arange(width)).view(rows, 1, 1, width)
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    return padded[torch.arange(rows).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1), lines, columns]
