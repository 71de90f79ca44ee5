"""A map laid over its image."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

Pixels = NDArray[np.uint8]
"""A picture (height, width, 3)."""

SIDE = 224
"""The side in pixels below which pictures are enlarged by a whole number."""

_INFERNO = (
    (0.00, (0, 0, 4)),
    (0.125, (31, 12, 72)),
    (0.25, (87, 16, 110)),
    (0.375, (138, 34, 106)),
    (0.50, (188, 55, 84)),
    (0.625, (227, 89, 51)),
    (0.75, (249, 142, 9)),
    (0.875, (249, 203, 53)),
    (1.00, (252, 255, 164)),
)
"""Anchors of matplotlib's inferno, whose lightness rises evenly; Smith & van der Walt (2015)."""

_OPAQUE = 0.8
_RISE = 0.7
_FULL = 0.995
"""The share of cells below the value that is drawn as hottest: one outlier must not darken the rest."""


def overlay(image: Tensor, heat: Tensor, side: int = SIDE) -> Pixels:
    """One image (channels, height, width) in [0, 1] with its map (height, width) on top, warm where the map is high.

    The higher the map, the less of the greyed image is seen; a map that is zero everywhere leaves it uncovered.
    Pictures smaller than `side` are enlarged by a whole number, their pixels as squares; the map is enlarged smoothly.
    """
    under = picture(image, side).astype(np.float64)
    grey = under.mean(axis=2, keepdims=True)
    height, width = under.shape[:2]
    shares = _unit_map(heat, (height, width))
    alpha = (_OPAQUE * shares**_RISE)[..., None]
    return ((1 - alpha) * (0.3 * under + 0.7 * grey) + alpha * _colours(shares)).round().astype(np.uint8)


def picture(image: Tensor, side: int = SIDE) -> Pixels:
    """One image (channels, height, width) in [0, 1] as a picture, a small one enlarged without smoothing."""
    rgb = image.detach().cpu()[:3] if len(image) >= 3 else image.detach().cpu()[:1].expand(3, -1, -1)
    pixels = (rgb.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    times = max(1, math.ceil(side / min(pixels.shape[:2])))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def side_by_side(image: Tensor, heat: Tensor, side: int = SIDE) -> Pixels:
    """The image, and on its right the same with its map on top."""
    left = picture(image, side)
    gap = np.full((len(left), max(4, left.shape[1] // 32), 3), 255, dtype=np.uint8)
    return np.concatenate([left, gap, overlay(image, heat, side)], axis=1)


def _unit_map(heat: Tensor, size: tuple[int, int]) -> NDArray[np.float64]:
    """The map from 0 to 1 at the size of the picture."""
    values = heat.detach().cpu().double()
    top = values.flatten().quantile(_FULL)
    top = top if top > 0 else values.max()
    if top > 0:
        values = (values / top).clamp(max=1)
    return interpolate(values[None, None], size=size, mode="bicubic")[0, 0].clamp(0, 1).numpy()


def _colours(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    places, colours = zip(*_INFERNO, strict=True)
    return np.stack([np.interp(shares, places, channel) for channel in zip(*colours, strict=True)], axis=-1)
