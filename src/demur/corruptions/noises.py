"""Noise: Gaussian, shot, impulse, speckle, salt and pepper."""

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
from demur.corruptions.pixel_values import in_parts
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Independent normal noise on every value, clipped to [0, 1].

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.04, 0.06, 0.08, 0.09, 0.10),
            64: (0.04, 0.08, 0.12, 0.15, 0.18),
            224: (0.08, 0.12, 0.18, 0.26, 0.38),
            299: (0.09, 0.13, 0.19, 0.27, 0.40),
        }
    )
    sentence: ClassVar[str] = "Gaussian noise of standard deviation {value:g} of the pixel range"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("gaussian_noise", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:
        sigma = parameter(self, min(x.shape[2:]))
        return torch.add(x, keys.normal(x, "gaussian_noise"), alpha=sigma).clamp_(0, 1)


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


@dataclass(frozen=True, kw_only=True)
class ImpulseNoise:
    """A share of the values, each channel alone, set to 0 or 1 by equal chance.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.01, 0.02, 0.03, 0.05, 0.07),
            64: (0.01, 0.02, 0.05, 0.08, 0.14),
            224: (0.03, 0.06, 0.09, 0.17, 0.27),
            299: (0.04, 0.07, 0.1, 0.18, 0.28),
        }
    )
    sentence: ClassVar[str] = "A share {value:g} of the values set to 0 or 1"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("impulse_noise", self.severity, self.value)
        check_value("impulse_noise", self.value, 0, 1)

    def __call__(self, x: Images, keys: Keys) -> Images:
        return in_parts(self._speckled, x, keys)

    def _speckled(self, x: Images, keys: Keys) -> Images:
        share = parameter(self, min(x.shape[2:]))
        drawn = keys.uniform(x, "impulse_noise")
        white, bright = (torch.ge(drawn, edge, out=torch.empty_like(drawn)) for edge in (1 - share / 2, share / 2))
        return x.clamp(white, bright)


@dataclass(frozen=True, kw_only=True)
class SpeckleNoise:
    """Independent normal noise in proportion to each value, clipped to [0, 1].

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.06, 0.1, 0.12, 0.16, 0.2),
            64: (0.15, 0.2, 0.25, 0.3, 0.35),
            224: (0.15, 0.2, 0.35, 0.45, 0.6),
            299: (0.16, 0.21, 0.36, 0.46, 0.61),
        }
    )
    sentence: ClassVar[str] = "Noise of standard deviation {value:g} times each value"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("speckle_noise", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:
        sigma = parameter(self, min(x.shape[2:]))
        return torch.addcmul(x, x, keys.normal(x, "speckle_noise"), value=sigma).clamp_(0, 1)


@dataclass(frozen=True, kw_only=True)
class SaltAndPepper:
    """A share of the pixels, all channels together, set to black or white by equal chance.

    `impulse_noise` does so to each channel alone; on grey images both are the same. The shares are those of the impulse
    noise of Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.01, 0.02, 0.03, 0.05, 0.07),
            64: (0.01, 0.02, 0.05, 0.08, 0.14),
            224: (0.03, 0.06, 0.09, 0.17, 0.27),
            299: (0.04, 0.07, 0.1, 0.18, 0.28),
        }
    )
    sentence: ClassVar[str] = "A share {value:g} of the pixels turned black or white"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("salt_and_pepper", self.severity, self.value)
        check_value("salt_and_pepper", self.value, 0, 1)

    def __call__(self, x: Images, keys: Keys) -> Images:
        return in_parts(self._speckled, x, keys)

    def _speckled(self, x: Images, keys: Keys) -> Images:
        share = parameter(self, min(x.shape[2:]))
        drawn = keys.uniform(x[:, :1], "salt_and_pepper")
        white, bright = (torch.ge(drawn, edge, out=torch.empty_like(drawn)) for edge in (1 - share / 2, share / 2))
        return x.clamp(white, bright)
