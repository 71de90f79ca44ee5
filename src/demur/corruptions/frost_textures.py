"""Procedural frost: six textures of ridges like needles of ice, this project's own and not photographs."""

import math
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from demur.randomness import Keys

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
