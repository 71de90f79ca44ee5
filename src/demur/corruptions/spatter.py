"""Spatter."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from demur.corruptions import check_severity, parameter
from demur.corruptions.pixel_values import paint
from demur.filters.convolution import gaussian_filter
from demur.randomness import Keys
from demur.shapes import Images

_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)
_RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


@dataclass(frozen=True, kw_only=True)
class Spatter:
    """Drops of water, lit at their rims, at severities 1 to 3 or 4; mud above.

    A drop is where smoothed normal noise exceeds a threshold. The parameter is (mean and deviation of the noise, its
    smoothing, threshold, opacity of water or smoothing of mud, 1 for mud). The rim of a drop is its outermost pixels;
    the originals find it with the Canny detector. Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: (
                (0.62, 0.1, 0.7, 0.7, 0.5, 0),
                (0.65, 0.1, 0.8, 0.7, 0.5, 0),
                (0.65, 0.3, 1, 0.69, 0.5, 0),
                (0.65, 0.1, 0.7, 0.69, 0.6, 1),
                (0.65, 0.1, 0.5, 0.68, 0.6, 1),
            ),
            64: (
                (0.62, 0.1, 0.7, 0.7, 0.6, 0),
                (0.65, 0.1, 0.8, 0.7, 0.6, 0),
                (0.65, 0.3, 1, 0.69, 0.6, 0),
                (0.65, 0.1, 0.7, 0.68, 0.6, 1),
                (0.65, 0.1, 0.5, 0.67, 0.6, 1),
            ),
            224: (
                (0.65, 0.3, 4, 0.69, 0.6, 0),
                (0.65, 0.3, 3, 0.68, 0.6, 0),
                (0.65, 0.3, 2, 0.68, 0.5, 0),
                (0.65, 0.3, 1, 0.65, 1.5, 1),
                (0.67, 0.4, 1, 0.65, 1.5, 1),
            ),
            299: (
                (0.65, 0.3, 4, 0.69, 0.9, 0),
                (0.65, 0.3, 3.5, 0.68, 0.9, 0),
                (0.65, 0.3, 3, 0.68, 0.8, 0),
                (0.65, 0.3, 1.2, 0.65, 1.8, 1),
                (0.67, 0.4, 1.2, 0.65, 1.8, 1),
            ),
        }
    )
    sentence: ClassVar[str] = "Spattered with drops where noise exceeds {value[3]:g}"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("spatter", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        mean, deviation, sigma, least, look, mud = parameter(self, min(x.shape[2:]))
        liquid = gaussian_filter(mean + deviation * keys.normal(x[:, :1], "spatter"), sigma)
        if mud:
            cover = gaussian_filter((liquid > least).to(x), look)
            cover = cover.masked_fill(cover < 0.8, 0)
            return (x * (1 - cover) + paint(_MUD, x) * cover).clamp(0, 1)
        drops = liquid.masked_fill(liquid < least, 0).clamp(0, 1)
        light = torch.empty_like(drops)
        for row, own in zip(light, drops.cpu().numpy(), strict=True):
            row.copy_(torch.from_numpy(_light(own[0])))
        return (x + look * light * paint(_WATER, x)).clamp(0, 1)


def _light(drops: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much light each pixel of the drops of one image throws, 1 at most: an embossed map of distances to rims."""
    wet = drops > 0
    rim = wet & ~ndimage.binary_erosion(wet, border_value=1)
    if not rim.any():
        return np.zeros_like(drops)
    away = ndimage.distance_transform_edt(~rim).clip(max=20)
    levels = _equalised(ndimage.uniform_filter(away, 3, mode="mirror").astype(np.uint8))
    embossed = ndimage.correlate(levels.astype(np.float64), _RELIEF, mode="mirror").clip(0, 255)
    light = drops * ndimage.uniform_filter(embossed, 3, mode="mirror")
    return (light / max(light.max(), 1e-12)).astype(np.float32)


def _equalised(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Levels from 0 to 255 spread so that each is about as common as any other."""
    counts = np.bincount(levels.reshape(-1), minlength=256)
    lowest = counts[counts.nonzero()[0][0]]
    ranks = (counts.cumsum() - lowest) / max(levels.size - lowest, 1)
    return (ranks * 255).round().clip(0, 255).astype(np.uint8)[levels]
