"""Numbers for another share of positives than the one that was measured.

Each rate is measured within its class, where it does not depend on how common the class is, and the rates are put
together at the prevalence asked for. The interval is the range of the result while every rate lies in its own interval,
each at level 1 − 0.05/m for m rates: at least 95 %, whatever the rates have to do with one another (Bonferroni).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from demur.errors import InputError
from demur.metrics.binomial import effective_size
from demur.metrics.estimate import Estimate, Unit

_ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class ClassRate:
    """The share of the images of one class of which something is true: `count` of `n`, in `units` independent pieces.

    `effective` is the number of independent images that would leave as much to chance, which is `n` without groups.
    """

    count: int
    n: int
    effective: float
    units: int
    unit: Unit = "image"

    @classmethod
    def of(cls, flags: ArrayLike, groups: NDArray[Any] | None = None) -> "ClassRate":
        """Counted over the images of one class; with groups the effective number is n over the design effect."""
        rows = np.asarray(flags, bool)
        if groups is None:
            return cls(count=int(rows.sum()), n=len(rows), effective=len(rows), units=len(rows))
        effective = effective_size(rows, groups)
        return cls(count=int(rows.sum()), n=len(rows), effective=effective, units=len(np.unique(groups)), unit="group")

    @property
    def value(self) -> float:
        """The share seen."""
        return self.count / self.n if self.n else math.nan

    def interval(self, alpha: float) -> tuple[float, float]:
        """The share lies outside with probability at most `alpha`; everything is possible without images.

        Clopper & Pearson (1934), "The use of confidence or fiducial limits illustrated in the case of the binomial".
        """
        if not self.n:
            return 0.0, 1.0
        hits = self.value * self.effective
        misses = self.effective - hits
        low = float(betaincinv(hits, misses + 1, alpha / 2)) if hits else 0.0
        high = float(betaincinv(hits + 1, misses, 1 - alpha / 2)) if misses else 1.0
        return low, high


def positive_predictive(hit: ClassRate, alarm: ClassRate, prevalence: float) -> Estimate:
    """π·h / (π·h + (1 − π)·a): how many of the images called positive are; high when alarms can be believed.

    `hit` (h) is the share of positives called positive, `alarm` (a) the share of negatives called positive.
    Altman & Bland (1994), "Diagnostic tests 2: predictive values".
    """
    return _put_together(lambda h, a: _ratio(prevalence * h, (1 - prevalence) * a), (hit, alarm), prevalence)


def negative_predictive(miss: ClassRate, clear: ClassRate, prevalence: float) -> Estimate:
    """(1 − π)·c / (π·m + (1 − π)·c): how many of the images called negative are; high when little escapes.

    `miss` (m) is the share of positives called negative, `clear` (c) the share of negatives called negative.
    Altman & Bland (1994), "Diagnostic tests 2: predictive values".
    """
    return _put_together(lambda m, c: _ratio((1 - prevalence) * c, prevalence * m), (miss, clear), prevalence)


def selective_risk_at(
    wrong: tuple[ClassRate, ClassRate], right: tuple[ClassRate, ClassRate], prevalence: float
) -> Estimate:
    """(π·w₊ + (1 − π)·w₋) / (π·(w₊ + r₊) + (1 − π)·(w₋ + r₋)): how many answers are wrong; high when the guard is lax.

    `wrong` (w) and `right` (r) are the shares of positives and of negatives that are answered wrong and right; with
    everything answered r = 1 − w. Saerens, Latinne & Decaestecker (2002), "Adjusting the outputs of a classifier to new
    a priori probabilities".
    """

    def risk(wrong_in: float, wrong_out: float, right_in: float, right_out: float) -> float:
        share = 1 - prevalence
        return _ratio(prevalence * wrong_in + share * wrong_out, prevalence * right_in + share * right_out)

    return _put_together(risk, (*wrong, *right), prevalence)


def error_rate_at(wrong: tuple[ClassRate, ClassRate], prevalence: float) -> Estimate:
    """π·w₊ + (1 − π)·w₋: how many answers are wrong when every image is answered; high when the model is weak."""
    return _put_together(lambda w, v: prevalence * w + (1 - prevalence) * v, wrong, prevalence)


def team_error(wrong: ClassRate, abstained: ClassRate, human_error: float) -> Estimate:
    """How many images a model and a person get wrong together, w + h·a: high when either is weak.

    `wrong` (w) is the share of images answered and wrong, `abstained` (a) the share left to a person, who gets the
    share h of these wrong whichever they are. The interval is that of both shares at once, h taken as exact.
    """
    if not wrong.n:
        return Estimate.undefined("no images", unit=wrong.unit)
    (low, high), (least, most) = (rate.interval(_ALPHA / 2) for rate in (wrong, abstained))
    return Estimate(
        value=wrong.value + human_error * abstained.value,
        low=low + human_error * least,
        high=min(1.0, high + human_error * most),
        n=wrong.units,
        unit=wrong.unit,
    )


def _put_together(formula: Callable[..., float], rates: tuple[ClassRate, ...], prevalence: float) -> Estimate:
    """The formula at the rates seen and, each rate moving it one way only, at the corners of their intervals."""
    check_prevalence(prevalence)
    unit: Unit = "group" if any(rate.unit == "group" for rate in rates) else "image"
    n = min(rate.units for rate in rates)
    if not all(rate.n for rate in rates):
        return Estimate.undefined("no images of one of the classes", unit=unit)
    value = formula(*(rate.value for rate in rates))
    if math.isnan(value):
        return Estimate.undefined("no image got this answer", n=n, unit=unit)
    corners = product(*(rate.interval(_ALPHA / len(rates)) for rate in rates))
    found = [end for end in (formula(*corner) for corner in corners) if not math.isnan(end)]
    return Estimate(value=value, low=min(found), high=max(found), n=n, unit=unit)


def check_prevalence(prevalence: float) -> None:
    """Refuse a share of positives that is not strictly between 0 and 1."""
    if not 0 < prevalence < 1:
        raise InputError(f"`prevalence` must lie strictly between 0 and 1; got {prevalence}. Write 0.5 % as 0.005.")


def _ratio(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest > 0 else math.nan
