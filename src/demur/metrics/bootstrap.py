"""Bootstrap intervals for any metric that takes row weights."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.metrics.estimate import Estimate
from demur.metrics.ranking import Floats, Value
from demur.metrics.units import Units

CHUNK = 2**18
ENOUGH = 0.95


Metric: TypeAlias = Callable[..., Value]
"""Arrays that lead with the row axis, and optionally `weights=` of shape (replicates, n) → a number, or one each."""


@dataclass(frozen=True, eq=False)
class Resampler(Units):
    """Draws units of independence with replacement; a row's weight is how often its unit was drawn.

    A unit is an image, or a whole group where `groups` (one name per row) is given. The same seed draws the same
    weights for every metric, so differences between metrics or signals are paired.
    Efron (1979), "Bootstrap methods: another look at the jackknife".
    """

    n: int
    groups: NDArray[Any] | None = None
    replicates: int = 1000
    seed: int = 0

    def weights(self) -> Iterator[Floats]:
        """All replicates' row weights, in chunks of shape (some replicates, n) that keep memory small."""
        codes = None if self.groups is None else self.codes
        units, rows = self.units, max(1, CHUNK // max(1, self.n))
        generator = np.random.default_rng(self.seed)
        for done in range(0, self.replicates, rows):
            count = min(rows, self.replicates - done)
            drawn = generator.integers(units, size=(count, units)) + units * np.arange(count)[:, None]
            times = np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units).astype(np.float64)
            yield times if codes is None else times[:, codes]

    def estimate(self, metric: Metric, *arrays: ArrayLike) -> Estimate:
        """A metric of `arrays` with its 95 % percentile interval."""
        return self.estimates({"it": metric}, *arrays)["it"]

    def estimates(self, metrics: Mapping[str, Metric], *arrays: ArrayLike) -> dict[str, Estimate]:
        """Several metrics of the same arrays, on the same draws."""
        if self.n == 0:
            return dict.fromkeys(metrics, Estimate.undefined("no images", unit=self.unit))
        draws: dict[str, list[Floats]] = {name: [] for name in metrics}
        for weights in self.weights():
            for name, metric in metrics.items():
                draws[name].append(np.asarray(metric(*arrays, weights=weights)))
        return {name: self._interval(float(metrics[name](*arrays)), np.concatenate(draws[name])) for name in metrics}

    def gain(self, metric: Metric, uncertainty: ArrayLike, baseline: ArrayLike, wrong: ArrayLike) -> Estimate:
        """`metric(uncertainty)` minus `metric(baseline)`, paired: high when `uncertainty` has the higher metric."""

        def difference(ours: ArrayLike, theirs: ArrayLike, errors: ArrayLike, weights: Floats | None = None) -> Value:
            return metric(ours, errors, weights=weights) - metric(theirs, errors, weights=weights)

        return self.estimate(difference, uncertainty, baseline, wrong)

    def _interval(self, value: float, draws: Floats) -> Estimate:
        if np.isnan(value):
            return Estimate.undefined(
                "undefined here: no right, no wrong or no accepted answers", n=self.units, unit=self.unit
            )
        defined = draws[~np.isnan(draws)]
        reason = None
        low = high = float("nan")
        if len(defined) >= ENOUGH * len(draws):
            low, high = _ends(defined)
        else:
            reason = "no interval: it is undefined in more than 5 % of the resamples"
        return Estimate(value=value, low=low, high=high, n=self.units, unit=self.unit, reason=reason)


def _ends(draws: Floats) -> tuple[float, float]:
    """The middle 95 % of the draws; the ends are draws themselves where some are infinite and nothing lies between."""
    if np.isfinite(draws).all():
        low, high = np.percentile(draws, [2.5, 97.5])
    else:
        low, high = np.quantile(draws, 0.025, method="inverted_cdf"), np.quantile(draws, 0.975, method="inverted_cdf")
    return float(low), float(high)
