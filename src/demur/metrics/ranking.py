"""How well a score ranks errors: AUROC, AUPR, FPR@95, risk-coverage curves, (E-)AURC, AUGRC, working points."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma

from demur.errors import InputError

Floats: TypeAlias = NDArray[np.float64]
Value: TypeAlias = Any
"""What a metric returns: a float for no weights or weights (n,); an array (replicates,) for weights (replicates, n)."""


@dataclass(frozen=True)
class Steps:
    """Weighted counts of the rows accepted, and of the wrong among them, at each distinct score, surest first.

    Rows with equal scores are accepted together. A weight of k means the row counted k times. `answers` and `errors`
    are running counts from 0 on, (replicates, distinct scores + 1); `scores` holds the distinct scores, ascending.
    """

    scores: Floats
    answers: Floats
    errors: Floats
    single: bool

    @classmethod
    def of(cls, uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> "Steps":
        """Sort once, then add up."""
        score, error = np.asarray(uncertainty, np.float64), np.asarray(wrong, bool)
        _check(score, error)
        rows = np.ones((1, len(score))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
        order = np.argsort(score, kind="stable")
        score, error, rows = score[order], error[order], rows[:, order]
        answers, errors = _running(rows), _running(rows * error)
        ends = np.flatnonzero(np.append(score[1:] != score[:-1], np.ones(min(1, len(score)), bool)))
        if len(ends) < len(score):
            steps = np.append(0, ends + 1)
            answers, errors = answers[:, steps], errors[:, steps]
        return cls(score[ends], answers, errors, single=weights is None or np.ndim(weights) == 1)

    @property
    def accepted(self) -> Floats:
        """The weight of the rows accepted at each distinct score, (replicates, distinct scores)."""
        return self.answers[:, 1:]

    @property
    def wrong(self) -> Floats:
        """Of these the wrong ones."""
        return self.errors[:, 1:]

    @property
    def accepted_before(self) -> Floats:
        """The weight of the rows accepted just before each step."""
        return self.answers[:, :-1]

    @property
    def wrong_before(self) -> Floats:
        """Of these the wrong ones."""
        return self.errors[:, :-1]

    @property
    def total(self) -> Floats:
        """The weight of all rows, (replicates, 1)."""
        return self.answers[:, -1:]

    @property
    def total_wrong(self) -> Floats:
        """The weight of all wrong rows, (replicates, 1)."""
        return self.errors[:, -1:]

    def value(self, metric: Floats) -> Value:
        """One number per replicate, or the number itself where there is only one."""
        return float(metric[0]) if self.single else metric


def ratio(above: Floats, below: Floats) -> Floats:
    """`above / below`, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)


def _running(rows: Floats) -> Floats:
    """Running sums of each row, from 0 on."""
    sums = np.zeros((rows.shape[0], rows.shape[1] + 1))
    np.cumsum(rows, axis=1, out=sums[:, 1:])
    return sums


def nearest(ascending: Floats, wanted: Floats) -> NDArray[np.intp]:
    """The positions of the entries of `ascending` closest to `wanted`, the lower one on a tie."""
    right = np.searchsorted(ascending, wanted).clip(0, len(ascending) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(wanted - ascending[left] <= ascending[right] - wanted, left, right)


def _check(score: Floats, wrong: NDArray[np.bool_]) -> None:
    if score.ndim != 1 or score.shape != wrong.shape:
        raise InputError(
            f"`uncertainty` and `wrong` must be one number per row; got shapes {score.shape} and {wrong.shape}."
        )
    undefined = int(np.isnan(score).sum())
    if undefined:
        raise InputError(
            f"`uncertainty` must be a number on every row; got NaN on {undefined} of {len(score)}. "
            "Leave out the rows whose score is undefined, and report how many there were."
        )


def augrc(uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """Area under the share of all images that are accepted and wrong, over coverage: high (½) when errors are certain.

    Equals (1 − AUROC_f)·acc·(1 − acc) + ½(1 − acc)², so with one classifier it ranks signals as AUROC does, and across
    classifiers it also counts accuracy. Trapezoids over distinct scores; NaN for no rows.
    Traub et al. (2024), arXiv:2407.01032.
    """
    return augrc_of(Steps.of(uncertainty, wrong, weights))


def augrc_of(steps: Steps) -> Value:
    """`augrc` of rows in order."""
    here = steps.accepted - steps.accepted_before
    area = (here * (steps.wrong + steps.wrong_before)).sum(axis=1) / 2
    return steps.value(ratio(area, steps.total[:, 0] ** 2))


def aupr(uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """Average precision of flagging the most uncertain first, positives = wrong: high (1) when errors come first.

    Σ (recallₖ − recallₖ₋₁)·precisionₖ over distinct scores, equal scores flagged together. A random score gives the
    error rate, so it says nothing across models of different accuracy; NaN without a wrong answer.
    Davis & Goadrich (2006), "The relationship between precision-recall and ROC curves".
    """
    return aupr_of(Steps.of(uncertainty, wrong, weights))


def aupr_of(steps: Steps) -> Value:
    """`aupr` of rows in order."""
    here = steps.wrong - steps.wrong_before
    caught = steps.total_wrong - steps.wrong_before
    flagged = steps.total - steps.accepted_before
    precision = caught / flagged.clip(min=1e-300)
    return steps.value(ratio((here * precision).sum(axis=1), steps.total_wrong[:, 0]))


def aurc(uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """Average selective risk: high when the surest answers are wrong.

    Convention, "mean selective risk over k": (1/n)·Σₖ (errors among the k surest)/k for k = 1 … n, in expectation over
    random orders of equal scores. Others end the curve otherwise or divide by n − 1, 2 % apart at n = 200.
    NaN for no rows. Geifman, Uziel & El-Yaniv (2019), arXiv:1805.08206.
    """
    return aurc_of(Steps.of(uncertainty, wrong, weights))


def aurc_of(steps: Steps) -> Value:
    """`aurc` of rows in order."""
    start, errors = steps.accepted_before, steps.wrong_before
    here, wrong_here = steps.accepted - start, steps.wrong - errors
    # The k surest, when k falls inside a tie, hold errors + share·(k − start) mistakes on average; sum that / k over k.
    share = np.divide(wrong_here, here, out=np.zeros_like(here), where=here > 0)
    harmonic = _harmonic(steps.answers)
    area = ((errors - share * start) * (harmonic[:, 1:] - harmonic[:, :-1]) + wrong_here).sum(axis=1)
    return steps.value(ratio(area, steps.total[:, 0]))


def eaurc(uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """AURC less that of a score which puts every error last: high when errors are answered that need not be.

    0 for a perfect order. AURC grows with the error rate however good the order is; what an order could not have
    avoided is taken off here. NaN for no rows. Geifman, Uziel & El-Yaniv (2019), arXiv:1805.08206.
    """
    return eaurc_of(Steps.of(uncertainty, wrong, weights))


def eaurc_of(steps: Steps) -> Value:
    """`eaurc` of rows in order."""
    total, errors = steps.total[:, 0], steps.total_wrong[:, 0]
    # All rights first, then Σ (k − rights)/k over the errors.
    rights = total - errors
    harmonic = _harmonic(np.stack([rights, total], axis=1))
    least = ratio(errors - rights * (harmonic[:, 1] - harmonic[:, 0]), total)
    return steps.value(np.maximum(np.atleast_1d(aurc_of(steps)) - least, 0.0))


_LONGEST_TABLE = 10_000_000


def _harmonic(counts: Floats) -> Floats:
    """H_k = Σ 1/j for j ≤ k; fractional counts, and those that a table would be long for, take the smooth extension."""
    whole = np.rint(counts)
    if not np.array_equal(whole, counts) or whole.max(initial=0) > _LONGEST_TABLE:
        return digamma(counts + 1) - digamma(1.0)
    table = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, 1 + int(whole.max(initial=0))))])
    return table[whole.astype(np.intp)]


def auroc(uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """The chance that a wrong answer is more uncertain than a right one, ties counting half: high (1) when all are.

    ½ for a score that knows nothing; NaN without a wrong or without a right answer.
    Hanley & McNeil (1982), "The meaning and use of the area under a ROC curve".

    >>> auroc([0.1, 0.2, 0.3, 0.3], [False, False, False, True])
    0.8333333333333334
    """
    steps = Steps.of(uncertainty, wrong, weights)
    below_or_half = (steps.accepted - steps.wrong + steps.accepted_before - steps.wrong_before) / 2
    here = steps.wrong - steps.wrong_before
    pairs = steps.total_wrong * (steps.total - steps.total_wrong)
    return steps.value(ratio((here * below_or_half).sum(axis=1), pairs[:, 0]))


CAUGHT = 0.95


def fpr95(uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """The share of right answers flagged when at least 95 % of the wrong ones are: high when uncertainty is wasted.

    Convention: positives = wrong, flagged = uncertainty ≥ threshold, the highest threshold whose TPR is ≥ .95 (others
    take the right answers as positives). NaN without a wrong or without a right answer.
    """
    steps = Steps.of(uncertainty, wrong, weights)
    caught = steps.total_wrong - steps.wrong_before
    enough = caught >= steps.total_wrong * (CAUGHT - 1e-12)
    flagged = steps.total - steps.total_wrong - (steps.accepted_before - steps.wrong_before)
    least = np.where(enough, flagged, np.inf).min(axis=1, initial=np.inf)
    rights = (steps.total - steps.total_wrong)[:, 0]
    return steps.value(ratio(least, rights * (steps.total_wrong[:, 0] > 0)))


@dataclass(frozen=True, eq=False)
class RiskCurve:
    """Coverage and selective risk at each threshold: accept where uncertainty ≤ threshold. Arrays of one length."""

    threshold: Floats
    coverage: Floats
    risk: Floats

    def __len__(self) -> int:
        return len(self.threshold)

    def thinned(self, points: int) -> "RiskCurve":
        """At most `points` of the points, evenly spread over coverage, both ends kept."""
        if len(self) <= points:
            return self
        wanted = np.linspace(self.coverage[0], self.coverage[-1], points)
        keep = np.unique(nearest(self.coverage, wanted))
        return RiskCurve(self.threshold[keep], self.coverage[keep], self.risk[keep])


def risk_coverage(uncertainty: ArrayLike, wrong: ArrayLike, points: int = 200) -> RiskCurve:
    """The risk-coverage curve of a score, one point per distinct score, thinned to at most `points`."""
    steps = Steps.of(uncertainty, wrong)
    accepted, errors = steps.accepted[0], steps.wrong[0]
    return RiskCurve(steps.scores, accepted / max(1, len(np.asarray(wrong))), errors / accepted).thinned(points)


def oracle(wrong: ArrayLike, points: int = 200) -> RiskCurve:
    """The curve of a score that knows every error: risk 0 up to the accuracy. Thresholds are the coverage itself."""
    errors = np.sort(np.asarray(wrong, bool))
    return risk_coverage(np.arange(1, len(errors) + 1) / max(1, len(errors)), errors, points)


def random_risk(wrong: ArrayLike) -> float:
    """The risk of a score that knows nothing, at any coverage: the error rate; NaN for no rows."""
    errors = np.asarray(wrong, np.float64)
    return float(errors.mean()) if len(errors) else float("nan")


def coverage_at_risk(uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None, *, risk: float) -> Value:
    """The largest coverage whose observed selective risk is at most `risk`: high when much can be answered.

    Optimistic: a threshold picked so breaks its guarantee on about half of new samples; a certificate does not.
    0 where no threshold qualifies; NaN for no rows.
    """
    steps = Steps.of(uncertainty, wrong, weights)
    kept = np.where(steps.wrong <= steps.accepted * risk * (1 + 1e-12), steps.accepted, 0.0)
    return steps.value(ratio(kept.max(axis=1, initial=0.0), steps.total[:, 0]))


def risk_at_coverage(
    uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None, *, coverage: float
) -> Value:
    """The share of wrong answers at the lowest threshold that answers at least `coverage`: high for a blind score.

    NaN for no rows.
    """
    steps = Steps.of(uncertainty, wrong, weights)
    if not len(steps.scores):
        return steps.value(np.full(len(steps.accepted), np.nan))
    first = (steps.accepted >= steps.total * coverage * (1 - 1e-12)).argmax(axis=1)[:, None]
    # A coverage of 0 and leading rows of weight 0 would stop where nothing is answered yet.
    first = np.maximum(first, (steps.accepted > 0).argmax(axis=1)[:, None])
    wrongs, accepted = (np.take_along_axis(counts, first, axis=1)[:, 0] for counts in (steps.wrong, steps.accepted))
    return steps.value(ratio(wrongs, accepted))


def selective_risk(
    uncertainty: ArrayLike, wrong: ArrayLike, weights: Floats | None = None, *, threshold: float
) -> Value:
    """The share of wrong answers among those with uncertainty ≤ `threshold`: high when the threshold is too lax.

    NaN where nothing is accepted.
    """
    steps = Steps.of(uncertainty, wrong, weights)
    last = int(np.searchsorted(steps.scores, threshold, side="right")) - 1
    if last < 0:
        return steps.value(np.full(len(steps.accepted), np.nan))
    return steps.value(ratio(steps.wrong[:, last], steps.accepted[:, last]))
