"""Intervals of what a ranking of errors is worth, where AUROC is not what is asked for."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from demur.metrics.binomial import effective_size, proportion, wilson
from demur.metrics.delong import FEWEST
from demur.metrics.estimate import Estimate, Unit, counted
from demur.metrics.jackknife import Jackknife, Scale
from demur.metrics.ranking import (
    CAUGHT,
    Floats,
    Steps,
    Value,
    augrc_of,
    aupr_of,
    aurc_of,
    coverage_at_risk,
    eaurc_of,
    fpr95,
)

_TAIL = 0.025
_STEPS = 200


_RANKINGS: Mapping[str, tuple[Callable[[Steps], Value], Scale]] = {
    "augrc": (augrc_of, "log"),
    "aurc": (aurc_of, "log"),
    "aupr": (aupr_of, "logit"),
    "eaurc": (eaurc_of, "log"),
}


def ranking_intervals(
    names: Sequence[str], uncertainty: ArrayLike, wrong: ArrayLike, units: NDArray[Any] | None = None
) -> dict[str, Estimate]:
    """AUGRC, (E-)AURC and AUPR, those named, of rows put in order once, each with its 95 % interval by the jackknife.

    There is one from ten units with errors and ten without on.
    """
    scores, flags = np.asarray(uncertainty, np.float64), np.asarray(wrong, bool)

    def metrics(scored: ArrayLike, failed: ArrayLike, weights: Floats | None = None) -> dict[str, Value]:
        steps = Steps.of(scored, failed, weights)
        return {name: _RANKINGS[name][0](steps) for name in names}

    jackknife = Jackknife(len(flags), units)
    scales = {name: _RANKINGS[name][1] for name in names}
    return jackknife.estimates(metrics, scores, flags, scales=scales, reason=_too_few(flags, units, jackknife.unit))


def fpr95_interval(uncertainty: ArrayLike, wrong: ArrayLike, units: NDArray[Any] | None = None) -> Estimate:
    """`fpr95` with its 95 % interval: that of the threshold, and of the share of right answers above it.

    The threshold that catches 95 % of the errors is a quantile of theirs, and its interval is Woodruff's: the scores at
    the ends of the interval of a share of 5 %. With fewer than about 70 errors it has no lower end, and the share that
    is flagged may be anything above. Both are put together as Zou and Donner do. Woodruff (1952), "Confidence intervals
    for medians and other position measures"; Zou & Donner (2008), "Construction of confidence limits about effect
    measures".
    """
    scores, flags = np.asarray(uncertainty, np.float64), np.asarray(wrong, bool)
    value = fpr95(scores, flags)
    unit: Unit = "image" if units is None else "group"
    n = len(flags) if units is None else len(np.unique(units))
    if math.isnan(value):
        return Estimate.undefined("undefined here: no right or no wrong answers", n=n, unit=unit)
    reason = _too_few(flags, units, unit)
    if reason:
        return Estimate(value=value, low=math.nan, high=math.nan, n=n, unit=unit, reason=reason)
    errors, right = np.sort(scores[flags]), scores[~flags]
    most, least = _threshold_ends(errors, scores[flags], None if units is None else units[flags])
    of_right = None if units is None else units[~flags]
    above = proportion(right >= most, of_right)
    low = value - math.hypot(max(0.0, value - above.value), above.value - above.low)
    if least is None:
        return Estimate(value=value, low=max(0.0, low), high=1.0, n=n, unit=unit)
    below = proportion(right >= least, of_right)
    high = value + math.hypot(max(0.0, below.value - value), below.high - below.value)
    return Estimate(value=value, low=max(0.0, low), high=min(1.0, high), n=n, unit=unit)


def _threshold_ends(errors: Floats, scores: Floats, units: NDArray[Any] | None) -> tuple[float, float | None]:
    """The highest and lowest score that may be the 5 % quantile of the errors'; None where the lowest has no end."""
    count, share = len(errors), 1 - CAUGHT
    threshold = errors[math.ceil(count * share) - 1]
    size = float(count) if units is None else effective_size(scores <= threshold, units)
    found = wilson(size * share, size)
    first, last = math.floor(found.low * count), math.ceil(found.high * count)
    exact = (1 - share) ** size  # the chance that no error at all lies below the threshold
    return float(errors[min(last, count) - 1]), float(errors[first - 1]) if first >= 1 and exact <= _TAIL else None


def coverage_at_risk_interval(
    uncertainty: ArrayLike, wrong: ArrayLike, units: NDArray[Any] | None = None, *, risk: float
) -> Estimate:
    """`coverage_at_risk` with its 95 % interval: the coverages at which the data leave the risk open.

    The low end is the largest coverage at which a risk above `risk` is refuted, the high one the largest at which one
    of at most `risk` is not, each by the exact one-sided bound; with units at the effective number of images.
    """
    scores, flags = np.asarray(uncertainty, np.float64), np.asarray(wrong, bool)
    unit: Unit = "image" if units is None else "group"
    if not len(flags):
        return Estimate.undefined("no images", unit=unit)
    errors, accepted, size = _accepted(scores, flags, units)
    share = errors / accepted
    upper = np.where(share >= 1, 1.0, betaincinv(share * size + 1, np.maximum((1 - share) * size, 1e-9), 1 - _TAIL))
    lower = np.where(errors == 0, 0.0, betaincinv(np.maximum(share * size, 1e-9), (1 - share) * size + 1, _TAIL))
    value = coverage_at_risk(scores, flags, risk=risk)
    low, high = (float(accepted[at].max(initial=0)) / len(flags) for at in (upper <= risk, lower <= risk))
    n = len(flags) if units is None else len(np.unique(units))
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=n, unit=unit)


def _accepted(scores: Floats, flags: NDArray[np.bool_], units: NDArray[Any] | None) -> tuple[Floats, Floats, Floats]:
    """Errors, answers and the effective number of answers at every threshold, with units at 200 of them."""
    order = np.argsort(scores, kind="stable")
    ascending, errors = scores[order], flags[order].astype(np.float64)
    last = np.append(ascending[1:] != ascending[:-1], True)
    if units is None:
        answers = np.arange(1.0, len(scores) + 1)
        return errors.cumsum()[last], answers[last], answers[last]
    ends = np.unique(np.flatnonzero(last)[np.linspace(0, last.sum() - 1, _STEPS).astype(int)]) + 1
    codes = np.unique(units, return_inverse=True)[1][order]
    failed, answered = (np.zeros(int(codes.max()) + 1) for _ in range(2))
    found = []
    for first, end in itertools.pairwise([0, *ends]):  # one threshold after the other: all beside each other take much
        failed += np.bincount(codes[first:end], errors[first:end], minlength=len(failed))
        answered += np.bincount(codes[first:end], minlength=len(failed))
        found.append((failed.sum(), answered.sum(), _effective(failed, answered)))
    total, accepted, sizes = np.array(found, np.float64).T
    return total, accepted, sizes


def _effective(errors: Floats, answers: Floats) -> float:
    """As `effective_size`, without what it allows for few units, of the errors among the answers of each unit."""
    total, units = answers.sum(), int((answers > 0).sum())
    share = errors.sum() / total
    spread = share * (1 - share)
    off = np.square(errors - share * answers).sum() / total**2 * units / max(units - 1, 1)
    return float(min(total, spread / max(off, 1e-300))) if off > 0 and spread > 0 else float(units)


def _too_few(flags: NDArray[np.bool_], units: NDArray[Any] | None, unit: Unit) -> str | None:
    counts = [int(kind.sum()) if units is None else len(np.unique(units[kind])) for kind in (flags, ~flags)]
    return (
        None if min(counts) >= FEWEST else f"no interval: only {counted(min(counts), unit)} of one kind, fewer than 10"
    )
