"""Intervals for any smooth metric that takes row weights, skewed ones and those of few errors among them.

A percentile bootstrap is too narrow where little was seen, and on the wrong side: what is rare was then seen too
seldom as often as not, and no resample has more of it. Of 1,000 images with 37 errors the truth lay above the interval
of AURC in 10 of 100 sets, above that of a skewed mean of 10 in 11.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from demur.metrics.estimate import Estimate, counted
from demur.metrics.ranking import Floats, Value
from demur.metrics.units import Units

Scale: TypeAlias = Literal["skew", "log", "logit"]

FEWEST = 10
"""With fewer units of independence no interval is to be trusted, and none is given."""

_LEVEL = 0.975
_TINY = 1e-12
_NORMAL_KURTOSIS = 3.0
_NUMBERS = 2**18
"""How many weights are made at a time: what a metric makes of them then stays in a core's cache."""


@dataclass(frozen=True, eq=False)
class Jackknife(Units):
    """Leaves out one block of units after the other, at most `blocks`; what a block adds to a metric is its spread.

    A unit is an image, or a whole group where `groups` (one name per row) is given. The interval is Student's, with the
    degrees of freedom that the spread itself is known to (Satterthwaite 1946): rare errors leave few, however many
    images there are. Its scale is `log` for what is positive, `logit` for what lies between 0 and 1, and `skew` for the
    rest, where Hall's (1992) cubic turns the skewed t back into an even one, "On the removal of skewness by
    transformation".

    Tukey (1958), "Bias and confidence in not-quite large samples"; Miller (1974), "The jackknife: a review".
    """

    n: int
    groups: NDArray[Any] | None = None
    blocks: int = 200
    seed: int = 0
    level: float = _LEVEL
    """The share of the law below the upper end: 97.5 % leave 95 % between the ends."""

    def estimate(self, metric: Any, *arrays: ArrayLike, scale: Scale = "skew") -> Estimate:
        """A metric of `arrays` with its 95 % interval; without one, and with a reason, where little or nothing varies.

        `metric(*arrays, weights=(blocks, n))` gives one number for each block that is left out.
        """

        def alone(*given: ArrayLike, weights: Floats | None = None) -> dict[str, Value]:
            return {"it": metric(*given) if weights is None else metric(*given, weights=weights)}

        return self.estimates(alone, *arrays, scales={"it": scale})["it"]

    def estimates(
        self, metrics: Any, *arrays: ArrayLike, scales: Mapping[str, Scale], reason: str | None = None
    ) -> dict[str, Estimate]:
        """Several metrics of the same arrays, worked out together; `metrics` gives each by its name in `scales`.

        `reason` says why there is to be no interval.
        """
        if not self.n:
            return dict.fromkeys(scales, Estimate.undefined("no images", unit=self.unit))
        found = {name: float(value) for name, value in metrics(*arrays).items()}
        if reason is None and self.units < FEWEST:
            reason = f"no 95 % interval from {counted(self.units, self.unit)}, only from {FEWEST}"
        told = reason is None and not all(math.isnan(value) for value in found.values())
        without = self._without(metrics, arrays) if told else {}
        return {name: self._estimate(found[name], without.get(name), scale, reason) for name, scale in scales.items()}

    def _estimate(self, value: float, without: Floats | None, scale: Scale, lack: str | None) -> Estimate:
        """From what it is, and what it is without each block, or why that was not worked out."""
        if math.isnan(value):
            undefined = "undefined here: no right, no wrong or no accepted answers"
            return Estimate.undefined(undefined, n=self.units, unit=self.unit)
        if without is None:
            return self._bare(value, lack)
        pseudo = len(without) * value - (len(without) - 1) * without
        if np.isnan(pseudo).any():
            return self._bare(value, "no interval: it is undefined without some of the images")
        return self._interval(value, pseudo, scale)

    def _without(self, metrics: Any, arrays: tuple[ArrayLike, ...]) -> dict[str, Floats]:
        """Each metric without each block (blocks,), some blocks at a time."""
        blocks = self._blocks()
        names, step = np.arange(int(blocks.max()) + 1), max(1, _NUMBERS // self.n)
        parts = [names[start : start + step, None] for start in range(0, len(names), step)]
        found = [metrics(*arrays, weights=(blocks != part).astype(np.float64)) for part in parts]
        return {name: np.concatenate([np.asarray(each[name], np.float64) for each in found]) for name in found[0]}

    def _blocks(self) -> NDArray[np.intp]:
        """The block of each row; units go to blocks at random where there are more of them."""
        units = self.units
        if units <= self.blocks:
            return self.codes
        return np.random.default_rng(self.seed).permutation(np.arange(units) % self.blocks)[self.codes]

    def _interval(self, value: float, pseudo: Floats, scale: Scale) -> Estimate:
        centred = pseudo - pseudo.mean()
        spread = math.sqrt(float(np.square(centred).sum()) / (len(pseudo) - 1))
        if spread < _TINY * max(1.0, abs(value)):
            return self._bare(value, "no interval: nothing varies")
        reach = _quantile(centred, self.level) / math.sqrt(len(pseudo))
        if scale == "skew":
            low, high = _unskewed(centred, reach)
            return self._between(value, value - spread * high, value - spread * low)
        slope = value if scale == "log" else value * (1 - value)
        if slope < _TINY:
            return self._bare(value, "no interval at the edge of what it can be")
        half = spread * reach / slope
        if scale == "log":
            return self._between(value, value * math.exp(-half), value * math.exp(half))
        odds = math.log(value / (1 - value))
        return self._between(value, 1 / (1 + math.exp(half - odds)), 1 / (1 + math.exp(-half - odds)))

    def _between(self, value: float, low: float, high: float) -> Estimate:
        return Estimate(value=value, low=low, high=high, n=self.units, unit=self.unit)

    def _bare(self, value: float, reason: str | None) -> Estimate:
        return Estimate(value=value, low=math.nan, high=math.nan, n=self.units, unit=self.unit, reason=reason)


def _quantile(centred: Floats, level: float) -> float:
    """Of Student's t, with the degrees of freedom that the fourth moment leaves: twice the number of rare events."""
    square = np.square(centred)
    kurtosis = float(np.square(square).mean() / square.mean() ** 2)
    freedom = 2 * len(centred) / max(kurtosis - 1, _NORMAL_KURTOSIS - 1)
    return float(stdtrit(max(1.0, min(len(centred) - 1, freedom)), level))


def _unskewed(centred: Floats, reach: float) -> tuple[float, float]:
    """Where Hall's cubic of a skewed t, divided by the root of the number, is −reach and reach."""
    count = len(centred)
    skew = float(np.mean(centred**3) / np.mean(centred**2) ** 1.5) * math.sqrt(count * (count - 1)) / (count - 2)
    if abs(skew) < 1e-6:
        return -reach, reach
    low, high = (3 / skew * float(np.cbrt(1 + skew * (end - skew / (6 * count))) - 1) for end in (-reach, reach))
    return low, high


def mean_interval(values: ArrayLike, groups: NDArray[Any] | None = None) -> Estimate:
    """The mean with its 95 % interval, from ten images or groups on: high for large values."""
    rows = np.asarray(values, np.float64)
    return Jackknife(len(rows), groups).estimate(_mean, rows)


def _mean(values: Floats, weights: Floats | None = None) -> Any:
    return float(values.mean()) if weights is None else weights @ values / weights.sum(axis=1)
