"""Shot noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from scipy import special
from torch import Tensor

from demur.corruptions import check_strength, check_value, parameter
from demur.corruptions.parts import in_parts
from demur.randomness import Keys
from demur.shapes import Images

_LEVELS = 255
_BINS = 1024
_MOST = 60


@dataclass(frozen=True, kw_only=True)
class ShotNoise:
    """Counts of photons: Poisson of mean x·rate, divided by the rate; high rates disturb little.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (500, 250, 100, 75, 50),
            64: (250, 100, 50, 30, 15),
            224: (60, 25, 12, 5, 3),
            299: (50, 20, 10, 5, 3),
        }
    )
    sentence: ClassVar[str] = "Photon noise, {value:g} photons to full brightness"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("shot_noise", self.severity, self.value)
        check_value("shot_noise", self.value, 1, 10_000)

    def __call__(self, x: Images, keys: Keys) -> Images:
        rate = parameter(self, min(x.shape[2:]))
        return in_parts(lambda some, own: poisson(some, rate, own), x, keys).div_(rate).clamp_(0, 1)


def poisson(x: Images, rate: float, keys: Keys) -> Images:
    """Poisson numbers of means x·rate, by inverting distribution functions.

    Each is the sum of two: of the mean of the next lower multiple of rate/255, from a table, and of what is left.
    """
    light = x * _LEVELS
    level = (light + 1e-4).clamp_(0, _LEVELS).int()  # a pixel of 8 bits is a level, but for rounding
    counts = _from_table(level, keys.uniform(x, "shot_noise"), rate)
    left = torch.threshold_(light.sub_(level), 3e-4, 0)
    if not bool(left.sum() > 0):
        return counts
    return counts + _one_by_one(left * (rate / _LEVELS), keys.uniform(x, "shot_noise left"))


def _from_table(level: Tensor, chance: Tensor, rate: float) -> Tensor:
    """How many values of each level's distribution function are at most `chance`."""
    values, guide = (table.to(chance.device) for table in _tables(rate))
    wanted, level = chance.flatten(), level.flatten()
    counts = guide.index_select(0, level * _BINS + (wanted * _BINS).int())
    on = torch.from_numpy(np.flatnonzero(counts.cpu().numpy() < 0)).to(counts.device)
    counts[on] = ~counts[on]
    base = level * (len(values) // (_LEVELS + 1))
    while len(on):
        on = on[values[base[on] + counts[on]] <= wanted[on]]
        counts[on] += 1
    return counts.to(chance).view(chance.shape)


@cache
def _tables(rate: float) -> tuple[Tensor, Tensor]:
    """Distribution functions of the levels, one after another, and their answers at the multiples of 1/_BINS.

    Where the next multiple has another answer, the complement of the answer, which is negative.
    """
    most = int(rate + 10 * math.sqrt(rate) + 20)
    means = np.arange(_LEVELS + 1) / _LEVELS * rate
    distribution = special.pdtr(np.arange(most), means[:, None]).astype(np.float32)
    distribution[:, -1] = np.inf  # so that every search ends
    bounds = np.arange(_BINS + 1, dtype=np.float32) / _BINS
    found = np.stack([np.searchsorted(row, bounds, side="right") for row in distribution]).astype(np.int16)
    guide = np.where(found[:, :-1] == found[:, 1:], found[:, :-1], ~found[:, :-1])
    return torch.from_numpy(distribution).flatten(), torch.from_numpy(guide).flatten()


def _one_by_one(mean: Tensor, chance: Tensor) -> Tensor:
    """Poisson numbers of small means, by adding up probabilities until they exceed `chance`."""
    probability = (-mean).exp()
    total, counts = probability, torch.zeros_like(chance)
    for count in range(1, _MOST):
        over = chance >= total
        if not bool(over.any()):
            break
        counts = counts + over
        probability = probability * mean / count
        total = total + probability
    return counts
