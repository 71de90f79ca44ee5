"""Scores counted in cells: what a ranking of them is worth, and how surely.

The ends of the cells are scores that some rows have, at about even shares of right answers, of wrong ones and of the
rest, with the highest and the lowest of them one by one. So it does not matter where the scores lie and how far they
spread. Counts add up, whatever the order and the number of parts. Within a cell the order of rows is lost: metrics take
them as tied, and the two orders that are kindest and unkindest to the score bound what the rows would have said.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma

from demur.metrics.counted_auroc import counted_auroc
from demur.metrics.estimate import Estimate
from demur.metrics.ranking import (
    CAUGHT,
    Floats,
    RiskCurve,
    Steps,
    Value,
    augrc_of,
    aupr_of,
    aurc_of,
    eaurc_of,
    ratio,
)

RIGHT, WRONG, REST = 2048, 1024, 1024
"""How many ends of cells are scores of right answers, of wrong ones, and of all else, at even shares of each."""

_ALONE = 256
"""So many of the highest and of the lowest scores of each of these have cells of their own."""


def score_ends(right: ArrayLike, wrong: ArrayLike, rest: ArrayLike) -> Floats:
    """The highest score of each cell, ascending; the last is infinite. NaN and infinite scores are passed over."""
    sides = ((right, RIGHT), (wrong, WRONG), (rest, REST))
    return np.unique(
        np.concatenate([*(_even(np.asarray(scores, np.float64), most) for scores, most in sides), [np.inf]])
    )


def _even(scores: Floats, most: int) -> Floats:
    """Scores at even shares; one that many rows share is alone in its cell."""
    ordered = np.sort(scores[np.isfinite(scores)]) + 0.0  # -0.0 becomes 0.0
    if not len(ordered):
        return ordered
    picked = ordered[np.linspace(0, len(ordered) - 1, most).round().astype(np.intp)]
    distinct, times = np.unique(picked, return_counts=True)
    many = distinct[times > math.ceil(most / len(ordered))]
    return np.concatenate([distinct, np.nextafter(many, -np.inf), ordered[:_ALONE], ordered[-_ALONE:]])


def grid_cells(scores: ArrayLike, ends: Floats) -> NDArray[np.int32]:
    """The cell of each score (rows,): the first whose end is not below it."""
    return np.searchsorted(ends, np.asarray(scores, np.float64)).clip(max=len(ends) - 1).astype(np.int32)


@dataclass(frozen=True, eq=False)
class GridCounts:
    """How many rows of either kind lie in each cell: its end, ascending, and `positive` and `negative` counts."""

    ends: Floats
    positive: Floats
    negative: Floats

    @property
    def n(self) -> int:
        """All rows."""
        return int(self.positive.sum() + self.negative.sum())

    def tied(self) -> Steps:
        """The rows of a cell accepted together."""
        return _steps(self.ends, self.positive, self.negative)

    def ordered(self, *, kindly: bool) -> Steps:
        """The rows of a cell one kind after the other: negative ones first is kindest to the score."""
        ends, none = np.repeat(self.ends, 2), np.zeros(len(self.ends))
        at = 1 if kindly else 0
        positive, negative = (
            np.stack((none, counts) if place else (counts, none), axis=1).ravel()
            for counts, place in ((self.positive, at), (self.negative, 1 - at))
        )
        return _steps(ends, positive, negative)

    @cached_property
    def metrics(self) -> Mapping[str, "Binned"]:
        """AUROC, FPR@95, AUPR, AUGRC, AURC and E-AURC, each with its bounds."""
        tied, kind, unkind = self.tied(), self.ordered(kindly=True), self.ordered(kindly=False)
        found = {name: _binned(metric(tied), metric(kind), metric(unkind)) for name, metric in _METRICS.items()}
        return found | {"aupr": _binned(aupr_of(tied), aupr_of(kind), _least_aupr(unkind))}

    def coverage_at_risk(self, risk: float) -> "Binned":
        """The largest coverage at an observed risk of at most `risk`, with its bounds."""
        value = _coverage(self.tied(), risk)
        return _binned(value, value, _most_coverage(self.ordered(kindly=True), risk))

    def auroc(self) -> Estimate:
        """AUROC of rows that are independent of each other, with its 95 % interval, wider by what cells hide."""
        found, slack = counted_auroc(self.positive, self.negative), self.metrics["auroc"].slack
        return replace(found, low=max(0.0, found.low - slack), high=min(1.0, found.high + slack))

    def curve(self, points: int = 200) -> RiskCurve:
        """The risk-coverage curve at the ends of cells, where it is exact."""
        steps = self.tied()
        accepted, errors = steps.accepted[0], steps.wrong[0]
        return RiskCurve(steps.scores, accepted / max(1, self.n), errors / accepted).thinned(points)

    def quantile(self, share: float) -> float:
        """The end of the cell below or in which this share of all rows lies."""
        running = np.cumsum(self.positive + self.negative)
        return float(self.ends[np.searchsorted(running, share * running[-1]).clip(0, len(running) - 1)])


@dataclass(frozen=True)
class Binned:
    """A metric of counts on the grid; that of the rows themselves lies between `low` and `high`."""

    value: float
    low: float
    high: float

    @property
    def slack(self) -> float:
        """How far the value of the rows may be from this one."""
        return max(self.high - self.value, self.value - self.low)


def _binned(value: float, *bounds: float) -> Binned:
    return Binned(float(value), float(min(value, *bounds)), float(max(value, *bounds)))


def _steps(scores: Floats, positive: Floats, negative: Floats) -> Steps:
    errors = np.append(0.0, np.cumsum(positive))[None]
    return Steps(scores, np.append(0.0, np.cumsum(positive + negative))[None], errors, single=True)


def _auroc(steps: Steps) -> float:
    below_or_half = (steps.accepted - steps.wrong + steps.accepted_before - steps.wrong_before) / 2
    pairs = steps.total_wrong * (steps.total - steps.total_wrong)
    return float(ratio(((steps.wrong - steps.wrong_before) * below_or_half).sum(axis=1), pairs[:, 0])[0])


def _fpr95(steps: Steps) -> float:
    enough = steps.total_wrong - steps.wrong_before >= steps.total_wrong * (CAUGHT - 1e-12)
    flagged = steps.total - steps.total_wrong - (steps.accepted_before - steps.wrong_before)
    rights = (steps.total - steps.total_wrong)[:, 0] * (steps.total_wrong[:, 0] > 0)
    return float(ratio(np.where(enough, flagged, np.inf).min(axis=1, initial=np.inf), rights)[0])


def _coverage(steps: Steps, risk: float) -> float:
    kept = np.where(steps.wrong <= steps.accepted * risk * (1 + 1e-12), steps.accepted, 0.0)
    return float(ratio(kept.max(axis=1, initial=0.0), steps.total[:, 0])[0])


def _most_coverage(kind: Steps, risk: float) -> float:
    """As `_coverage`, where of the next wrong answers as many are answered as the risk bears."""
    accepted, errors = kind.answers[0], kind.errors[0]
    room = np.floor((accepted * risk * (1 + 1e-12) - errors) / (1 - risk))
    more = np.minimum(room, np.append(np.diff(errors), 0.0))
    most = np.where(room >= 0, accepted + more, 0.0).max(initial=0.0)
    return float(ratio(np.array([most]), kind.total[:, 0])[0])


def _least_aupr(unkind: Steps) -> float:
    """Average precision where the wrong answers of a cell are flagged one by one, after its right ones."""
    here, total = (unkind.wrong - unkind.wrong_before)[0], unkind.total_wrong[0, 0]
    caught, flagged = total - unkind.wrong[0], unkind.total[0, 0] - unkind.accepted[0]
    # Σ (caught + j) / (flagged + j) over j = 1 … here
    precision = here - (flagged - caught) * (digamma(flagged + here + 1) - digamma(flagged + 1))
    return float(ratio(np.array([precision.sum()]), np.array([total]))[0])


_METRICS: Mapping[str, Callable[[Steps], Value]] = {
    "auroc": _auroc,
    "fpr95": _fpr95,
    "augrc": augrc_of,
    "aurc": aurc_of,
    "eaurc": eaurc_of,
}
