"""Every kind of interval that a report prints, on a law with a known truth; where there was another, that one too."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm

from common import laws
from common.laws import Rows, Size
from demur.metrics import (
    Resampler,
    augrc,
    aupr,
    aurc,
    auroc,
    balanced_accuracy,
    brier,
    coverage_at_risk,
    ece,
    fpr95,
    mean,
    nll,
)
from demur.metrics.binomial import proportion, weighted_share
from demur.metrics.calibration import ece_interval
from demur.metrics.delong import Kinds, Placements, auroc_gain, auroc_interval
from demur.metrics.estimate import Estimate
from demur.metrics.failure_table import failure_table
from demur.metrics.jackknife import Jackknife, mean_interval
from demur.metrics.paired import kappa, kappa_interval, mcnemar, sign_effect
from demur.metrics.prevalence import ClassRate, negative_predictive, positive_predictive, selective_risk_at
from demur.metrics.quantiles import median, quantile, weighted_quantile
from demur.metrics.rank_correlation import rank_correlation, spearman
from demur.metrics.ranking_intervals import coverage_at_risk_interval, fpr95_interval, ranking_intervals

Interval = Callable[[Rows, Any], Estimate]
Law = Callable[[np.random.Generator, Size], Rows]


@dataclass(frozen=True)
class Kind:
    """One kind of interval: what it is of, a law and a size, the interval and the former one.

    `truth` is a number, or a function of the rows of one very large set. `price` is how many times dearer than a closed
    form it is: dear ones get fewer sets.
    """

    name: str
    law: Law
    size: Size
    truth: float | Callable[[Rows], float]
    now: Interval
    before: Interval | None = None
    price: int = 1
    note: str = field(default="")


def resampled(metric: Any, *names: str) -> Interval:
    """The percentile bootstrap, 200 times."""
    return lambda rows, units: Resampler(len(rows[names[0]]), units, replicates=200).estimate(
        metric, *(rows[name] for name in names)
    )


def on(function: Callable[..., Estimate], *names: str) -> Interval:
    """An interval that takes some columns and the groups."""
    return lambda rows, units: function(*(rows[name] for name in names), units)


def true(metric: Callable[..., Any], *names: str) -> Callable[[Rows], float]:
    """What a metric is on some columns of very many rows."""
    return lambda rows: float(metric(*(rows[name] for name in names)))


def logit_delong(rows: Rows, units: Any) -> Estimate:
    """DeLong's interval on the logit scale."""
    found = Placements.of(rows["score"], Kinds.of(rows["wrong"], units))
    slope = found.value * (1 - found.value)
    if not slope:
        return Estimate.undefined("perfect")
    odds, half = np.log(found.value / (1 - found.value)), 1.96 * np.sqrt(found.variance) / slope
    low, high = (1 / (1 + np.exp(-end)) for end in (odds - half, odds + half))
    return Estimate(value=found.value, low=low, high=high, n=len(rows["score"]))


def share_kinds() -> Iterator[Kind]:
    """Accuracy, risk, coverage, robust accuracy, agreement, shares of weight, rates and what follows of them."""
    boot = resampled(mean, "flags")
    for size, truth, former in (
        (Size(60), 0.05, boot),
        (Size(1000), 0.97, boot),
        (Size(12, 20, 0.2), 0.8, boot),
        (Size(100, 10, 0.5), 0.9, boot),
    ):
        yield Kind("share", partial(laws.flagged, share=truth), size, truth, on(proportion, "flags"), former)
    for size in (Size(300), Size(40, 10, 0.3)):
        law = partial(laws.flagged, share=0.85)
        yield Kind("share of label weight", law, size, 0.85, on(weighted_share, "flags", "weights"), _weighed_before)
    for bias, size in ((4.2, Size(1000)), (3.2, Size(40, 25, 0.5))):
        law = partial(laws.ranked, bias=bias)
        yield Kind("balanced accuracy", law, size, _balance, _balanced, _balanced_before, 3)
    rates = (("predictive value +", _ppv), ("predictive value −", _npv), ("risk at prevalence", _risk))
    for size in (Size(400), Size(40, 10, 0.3)):
        for kind, function in rates:
            yield Kind(kind, partial(laws.ranked, bias=2.0), size, partial(_at_truth, function), function)


def _weighed_before(rows: Rows, units: Any) -> Estimate:
    own = rows["weights"]

    def metric(flags: Any, weights: Any = None) -> Any:
        return mean(flags, own if weights is None else weights * own)

    return Resampler(len(own), units, replicates=200).estimate(metric, rows["flags"])


def _balance(rows: Rows) -> float:
    return float(balanced_accuracy(rows["score"] > 1, rows["wrong"]))


def _balanced(rows: Rows, units: Any) -> Estimate:
    return failure_table(rows["score"] <= 1, rows["wrong"], units).balanced_accuracy


def _balanced_before(rows: Rows, units: Any) -> Estimate:
    found = Resampler(len(rows["score"]), units, replicates=200)
    return found.estimate(balanced_accuracy, rows["score"] > 1, rows["wrong"])


def _rate(flags: Any, inside: Any, units: Any) -> ClassRate:
    return ClassRate.of(flags[inside], None if units is None else units[inside])


def _ppv(rows: Rows, units: Any) -> Estimate:
    called, inside = rows["score"] > 0.5, rows["wrong"]
    return positive_predictive(_rate(called, inside, units), _rate(called, ~inside, units), 0.05)


def _npv(rows: Rows, units: Any) -> Estimate:
    called, inside = rows["score"] <= 0.5, rows["wrong"]
    return negative_predictive(_rate(called, inside, units), _rate(called, ~inside, units), 0.05)


def _risk(rows: Rows, units: Any) -> Estimate:
    positive, wrong, answered = rows["other"] > 0.5, rows["wrong"], rows["score"] < 1
    failed, correct = wrong & answered, ~wrong & answered
    both = [(_rate(each, positive, units), _rate(each, ~positive, units)) for each in (failed, correct)]
    return selective_risk_at(both[0], both[1], 0.05)


def _at_truth(function: Interval, rows: Rows) -> float:
    return function(rows, None).value


def ranking_kinds() -> Iterator[Kind]:
    """AUROC, its gain over the baseline, and the other figures of a ranking."""
    area, gain = on(auroc_interval, *RANKED), on(auroc_gain, "score", "other", "wrong")
    for errors, truth in ((10, 0.7), (10, 0.95), (10, 0.99), (30, 0.99), (300, 0.9)):
        law = _of_size(partial(laws.binormal, errors=errors, images=1000, area=truth))
        yield Kind("AUROC", law, Size(1000), truth, area, logit_delong, note=f"{errors} errors, truth {truth}")
    groups = Size(30, 20, 0.4)
    yield Kind("AUROC", partial(laws.ranked, bias=2.5), groups, true(auroc, *RANKED), area, logit_delong)
    yield Kind("AUROC", laws.attacked, Size(200), true(auroc, *RANKED), area, logit_delong, note="attacked and clean")
    for bias, size in ((4.9, Size(1000)), (2.2, Size(1000)), (2.2, Size(100, 10, 0.5)), (2.5, Size(30, 20, 0.4))):
        law, truth = partial(laws.ranked, bias=bias), partial(_at_truth, gain)
        yield Kind("gain in AUROC", law, size, truth, gain, _gain_before, note=RATES[bias])
    for bias, size in ((4.9, Size(1000)), (2.2, Size(1000)), (3.2, Size(40, 25, 0.5))):
        yield from _other_rankings(bias, size)


RANKED = ("score", "wrong")
RATES = {4.9: "2 % wrong", 4.2: "4 % wrong", 3.2: "8 % wrong", 2.5: "13 % wrong", 2.2: "17 % wrong"}
FIGURES: tuple[tuple[str, Any], ...] = (("AUGRC", augrc), ("AURC", aurc), ("AUPR", aupr))


def _ranking_interval(score: Any, wrong: Any, units: Any = None, *, name: str) -> Estimate:
    return ranking_intervals([name], score, wrong, units)[name]


def _other_rankings(bias: float, size: Size) -> Iterator[Kind]:
    law, note = partial(laws.ranked, bias=bias), RATES[bias]
    for name, metric in FIGURES:
        now = on(partial(_ranking_interval, name=name.lower()), *RANKED)
        yield Kind(name, law, size, true(metric, *RANKED), now, resampled(metric, *RANKED), 10, note)
    caught, at_risk = on(fpr95_interval, *RANKED), partial(coverage_at_risk, risk=0.02)
    yield Kind("FPR at 95 % caught", law, size, true(fpr95, *RANKED), caught, resampled(fpr95, *RANKED), 5, note)
    covered = on(partial(coverage_at_risk_interval, risk=0.02), *RANKED)
    yield Kind("coverage at risk 2 %", law, size, true(at_risk, *RANKED), covered, resampled(at_risk, *RANKED), 5, note)


def _of_size(law: Callable[..., Rows]) -> Law:
    return lambda generator, _: law(generator)


def _gain_before(rows: Rows, units: Any) -> Estimate:
    """DeLong's with the normal quantile."""
    found, other = (Placements.of(rows[name], Kinds.of(rows["wrong"], units)) for name in ("score", "other"))
    less = found.less(other)
    half = float(ndtri(0.975)) * np.sqrt(np.square(less.above + less.below).sum())
    return Estimate(value=less.value, low=less.value - half, high=less.value + half, n=len(rows["score"]))


def number_kinds() -> Iterator[Kind]:
    """Calibration, agreement of labellers, means, quantiles, rank correlations and differences of the same images."""
    yield from _calibration_kinds()
    for size, share in ((Size(50), 0.9), (Size(200), 0.95), (Size(300), 0.8), (Size(30, 10, 0.3), 0.9)):
        law, names = partial(laws.labelled, agreement=share), ("first", "second")
        now, before = on(kappa_interval, *names), resampled(kappa, *names)
        yield Kind("kappa", law, size, true(kappa, *names), now, before, 2, f"{share:.0%} agree")
    for size, name in MEANS:
        law, now = partial(laws.measured, law=name), on(mean_interval, "values")
        yield Kind("mean", law, size, true(mean, "values"), now, resampled(mean, "values"), note=name)
    yield from _quantile_kinds()
    for size, rho in CORRELATIONS:
        law, now = partial(laws.paired, correlation=rho), on(spearman, "first", "second")
        before = resampled(rank_correlation, "first", "second") if size.images > 1 else None
        yield Kind("rank correlation", law, size, 6 / np.pi * float(np.arcsin(rho / 2)), now, before, 4, f"of {rho}")
    yield from _difference_kinds()


MEANS = (
    (Size(10), "normal"),
    (Size(10), "beta"),
    (Size(20), "exponential"),
    (Size(100), "exponential"),
    (Size(10, 10, 0.5), "normal"),
    (Size(20, 10, 0.5), "exponential"),
)
CORRELATIONS = (
    (Size(10), 0.5),
    (Size(30), 0.9),
    (Size(200), 0.7),
    (Size(12, 10, 0.5), 0.7),
    (Size(40, 10, 0.5), 0.7),
)
STATED = ((Size(1000), 1.0, "calibrated"), (Size(300), 0.5, "too sure"), (Size(40, 25, 0.5), 0.5, "too sure"))


def _calibration_kinds() -> Iterator[Kind]:
    for size, truth, note in STATED:
        law, names = partial(laws.stated, truth=truth), ("confidence", "right")
        found = 0.0 if truth == 1 else true(ece, *names)
        yield Kind("ECE", law, size, found, on(ece_interval, *names), resampled(ece, *names), 5, note)
        for name, metric in (("NLL", nll), ("Brier score", brier)):
            now, known = partial(_scored, metric=metric), true(metric, "logits", "labels")
            yield Kind(name, law, size, known, now, resampled(metric, "logits", "labels"), 5, note)


def _scored(rows: Rows, units: Any, *, metric: Any) -> Estimate:
    return Jackknife(len(rows["labels"]), units).estimate(metric, rows["logits"], rows["labels"])


def _quantile_kinds() -> Iterator[Kind]:
    for size in (Size(6), Size(20), Size(200), Size(6, 10, 0.5), Size(20, 10, 0.5)):
        before = None if size.images == 1 else resampled(partial(_weighted, share=0.5), "values")
        for name in ("normal", "censored"):
            law = partial(laws.measured, law=name)
            yield Kind("median", law, size, 0.0, on(median, "values"), before, note=name)
        if size.groups > 10:
            before = None if before is None else resampled(partial(_weighted, share=0.25), "values")
            law, quarter = partial(laws.measured, law="normal"), _quarter
            yield Kind("quartile", law, size, float(norm.ppf(0.25)), quarter, before)


def _quarter(rows: Rows, units: Any) -> Estimate:
    return quantile(rows["values"], 0.25, units)


def _weighted(values: Any, weights: Any = None, *, share: float) -> Any:
    return weighted_quantile(values, share, weights)


def _difference_kinds() -> Iterator[Kind]:
    gap = float(norm.cdf(0.9) - norm.cdf(1.2))
    for size in (Size(60), Size(1000), Size(20, 10, 0.3)):
        law = partial(laws.paired, correlation=0.7)
        yield Kind("difference of shares", law, size, gap, _shares, _wald if size.images == 1 else None)
        yield Kind("effect of signs", law, size, 0.0, _signs)
        yield Kind("median difference", law, size, 0.0, _middle)


def _shares(rows: Rows, units: Any) -> Estimate:
    return mcnemar(rows["right"], rows["also"], units).effect


def _signs(rows: Rows, units: Any) -> Estimate:
    return sign_effect(rows["second"] - rows["first"], units)


def _middle(rows: Rows, units: Any) -> Estimate:
    return median(rows["second"] - rows["first"], units)


def _wald(rows: Rows, _: Any) -> Estimate:
    off = rows["also"].astype(float) - rows["right"]
    half = 1.96 * off.std() / np.sqrt(len(off))
    return Estimate(value=off.mean(), low=off.mean() - half, high=off.mean() + half, n=len(off))


KINDS = (*share_kinds(), *ranking_kinds(), *number_kinds())
