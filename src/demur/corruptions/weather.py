"""Weather: fog, frost, snow, spatter."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from demur.corruptions import check_severity, parameter
from demur.corruptions.pixel_values import grey, paint
from demur.filters.convolution import gaussian_filter, motion
from demur.filters.sampling import zoom
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Fog:
    """A height map added to all channels, and the sum dimmed so that its brightest possible value is the image's.

    The parameter is (strength, root of how much rougher each level of the map is than the next finer one). The map
    is a diamond-square fractal on the smallest power of two that holds the image.
    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
            64: ((0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75)),
            224: ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
            299: ((1.5, 2.0), (2.0, 2.0), (2.5, 1.8), (2.5, 1.6), (3.0, 1.5)),
        }
    )
    sentence: ClassVar[str] = "Fog of strength {value[0]:g}"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("fog", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        height, width = x.shape[2:]
        strength, decay = parameter(self, min(height, width))
        side = max(2, 1 << (max(height, width) - 1).bit_length())
        chance = keys.uniform(x.new_empty((len(x), side, side)), "fog").mul_(2).sub_(1)
        haze = heights(chance, decay)[:, None, :height, :width]
        brightest = x.amax(dim=(1, 2, 3), keepdim=True)
        return torch.add(x, haze, alpha=strength).mul_(brightest / (brightest + strength)).clamp_(0, 1)


def heights(chance: Float[Tensor, "rows side side"], decay: float) -> Float[Tensor, "rows side side"]:
    """Diamond-square height maps that repeat at their edges, from 0 to 1.

    `chance`, from -1 to 1, is what each point adds to the mean of its four neighbours, `decay`² times less on each
    finer level. Fournier et al. (1982), "Computer rendering of stochastic models".
    """
    found = chance.new_zeros(chance.shape)
    step, rough = chance.shape[1], 1.0
    while step >= 2:
        half = step // 2
        corners = found[:, ::step, ::step]
        sides = corners + corners.roll(-1, 1)
        centres = (sides + sides.roll(-1, 2)).div_(4).add_(chance[:, half::step, half::step], alpha=rough)
        across = (corners + corners.roll(-1, 2)).add_(centres).add_(centres.roll(1, 1))
        down = sides.add_(centres).add_(centres.roll(1, 2))
        found[:, half::step, half::step] = centres
        found[:, ::step, half::step] = across.div_(4).add_(chance[:, ::step, half::step], alpha=rough)
        found[:, half::step, ::step] = down.div_(4).add_(chance[:, half::step, ::step], alpha=rough)
        step, rough = half, rough / decay**2
    lowest, highest = found.amin(dim=(1, 2), keepdim=True), found.amax(dim=(1, 2), keepdim=True)
    return found.sub_(lowest).div_(highest - lowest)


SIDE = 512
"""Pixels along a side of a texture at full scale; its edges join."""

_LOOKS: tuple[tuple[tuple[float, float, float], float, tuple[float, ...]], ...] = (
    ((0.35, 0.55, 0.65), 0.11, (20.0, 80.0, 140.0)),
    ((0.80, 0.82, 0.85), 0.08, (0.0, 60.0, 120.0)),
    ((0.70, 0.75, 0.80), 0.10, (45.0, 75.0)),
    ((0.55, 0.60, 0.65), 0.12, (30.0, 100.0, 160.0)),
    ((0.45, 0.50, 0.55), 0.17, (10.0, 50.0, 90.0, 130.0)),
    ((0.30, 0.38, 0.42), 0.17, (70.0, 110.0)),
)
"""Mean red, green and blue, contrast, directions of the needles in degrees."""


@cache
def textures(scale: float) -> Float[Tensor, "6 3 side side"]:
    """The six textures shrunk by `scale`, in [0, 1]."""
    return torch.stack([_texture(index, round(SIDE * scale)) for index in range(len(_LOOKS))])


def _texture(index: int, side: int) -> Float[Tensor, "3 side side"]:
    colour, contrast, directions = _LOOKS[index]
    keys = Keys.of(index, ["texture"], "frost")
    needles = torch.stack([_needles(keys, direction) for direction in directions]).amax(dim=0)
    shrunk = _shrunk(needles, side)
    relief = ((shrunk - shrunk.mean()) / shrunk.std()).clamp(-2.5, 2.5)
    return (torch.tensor(colour)[:, None, None] + contrast * relief).clamp(0, 1)


def _needles(keys: Keys, degrees: float) -> Float[Tensor, "side side"]:
    """Ridges of noise whose waves are long in one direction and short across it."""
    chance = keys.normal(torch.empty(1, SIDE, SIDE), f"{degrees:g}")[0]
    down, right = torch.fft.fftfreq(SIDE)[:, None] * SIDE, torch.fft.rfftfreq(SIDE) * SIDE
    along = down * math.sin(math.radians(degrees)) + right * math.cos(math.radians(degrees))
    strength = (1 + down**2 + right**2) ** -0.5 / (1 + (along / 6) ** 2)
    noise = torch.fft.irfft2(torch.fft.rfft2(chance) * strength, s=(SIDE, SIDE))
    return -(noise / noise.std()).abs()


def _shrunk(picture: Float[Tensor, "side side"], side: int) -> Float[Tensor, "less less"]:
    """The waves of a periodic picture that fit on fewer pixels."""
    spectrum, half = torch.fft.rfft2(picture), side // 2
    rows = torch.cat([spectrum[: side - half], spectrum[-half:]])
    return torch.fft.irfft2(rows[:, : half + 1], s=(side, side))


@dataclass(frozen=True, kw_only=True)
class Frost:
    """A weighted sum of the image and of a random part of a random one of six textures.

    The parameter is (weight of the image, weight of the frost, scale of the texture). The textures are this project's
    own, procedural, in place of the photographs of the originals, so only the weights are theirs. The published images
    were made by code that never draws the sixth texture; `as_published` does not draw it either.
    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((1.0, 0.2, 0.2), (1.0, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
            64: ((1.0, 0.3, 0.3), (0.9, 0.4, 0.3), (0.8, 0.45, 0.3), (0.75, 0.5, 0.3), (0.7, 0.55, 0.3)),
            224: ((1.0, 0.4, 1.0), (0.8, 0.6, 1.0), (0.7, 0.7, 1.0), (0.65, 0.7, 1.0), (0.6, 0.75, 1.0)),
        }
    )
    sentence: ClassVar[str] = "Frost of weight {value[1]:g} on the image"
    value: ClassVar[None] = None

    severity: int
    as_published: bool = False

    def __post_init__(self) -> None:
        check_severity("frost", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        height, width = x.shape[2:]
        kept, added, scale = parameter(self, min(height, width))
        known = textures(scale).to(x)
        side = known.shape[2]
        chance = keys.uniform(x.new_empty((len(x), 3)), "frost")
        sizes = torch.tensor([5 if self.as_published else 6, side, side])
        which, top, left = (chance.cpu() * sizes).long().unbind(dim=1)
        out = x * kept
        for row, one, down, right in zip(out, which.tolist(), top.tolist(), left.tolist(), strict=True):
            ice = _part(_part(known[one : one + 1], 2, down, height), 3, right, width)
            row.add_((ice if len(row) == 3 else grey(ice))[0], alpha=added)
        return out.clamp_(0, 1)


def _part(textures: Images, axis: int, first: int, count: int) -> Images:
    """`count` pixels from `first` on, along an axis that begins again at its end."""
    side = textures.shape[axis]
    pieces = [textures.narrow(axis, first, min(count, side - first))]
    while (missing := count - sum(piece.shape[axis] for piece in pieces)) > 0:
        pieces.append(textures.narrow(axis, 0, min(missing, side)))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=axis)


@dataclass(frozen=True, kw_only=True)
class Snow:
    """Flakes that fall at an angle of each image's own, added twice, on a whitened image.

    A flake is where enlarged normal noise exceeds a threshold, smeared along its way. The parameter is (mean and
    deviation of the noise, enlargement, threshold, radius and deviation of the smear, share of the image that is not
    whitened). Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ),
            64: (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
            ),
            224: (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ),
        }
    )
    sentence: ClassVar[str] = "Snow on images of which a share {value[6]:g} is not whitened"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("snow", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        mean, deviation, factor, least, radius, sigma, kept = parameter(self, min(x.shape[2:]))
        noise = keys.normal(x[:, :1], "snow").mul_(deviation).add_(mean)
        flakes = torch.threshold_(zoom(noise, [factor]), least, 0).clamp_(0, 1)
        turns = keys.uniform(x[:, 0, 0, :1], "snow angle")[:, 0]
        falling = motion(flakes, radius=radius, sigma=sigma, degrees=90 * turns - 135)
        white = torch.maximum(x, grey(x).mul_(1.5).add_(0.5)).mul_(1 - kept).add_(x, alpha=kept)
        return white.add_(falling + falling.flip(2, 3)).clamp_(0, 1)


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
