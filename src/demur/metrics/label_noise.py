"""Whether labels are wrong at random, told from a model's own errors by three kinds of evidence at once.

Wrong labels that have nothing to do with the image meet sure answers as often as unsure ones, name unlikely classes as
often as likely ones, and spread over all pairs of classes. A model's honest errors do neither: they are rare among its
surest answers, the true class mostly comes second, and they crowd into few pairs. All of it rests on the order of the
logits, so over- and under-confidence changes nothing. Errors as sure and as arbitrary as wrong labels cannot be told
from them, nor wrong labels that name the model's second choice, nor either of two classes.
`logits` are (rows, classes) of held-out rows, `labels` (rows,).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import poisson

from demur.metrics.binomial import proportion
from demur.metrics.confident_learning import logit_parts
from demur.metrics.estimate import Estimate

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

SURE = 0.2
"""The share of the rows that counts as the surest."""
LEAST = 0.01
"""Wrong labels are told of where the low end of the interval of their share lies above this."""
_OF_ERRORS, _OF_FIT = 0.25, 0.6
"""All evidence is void where the estimate is a smaller share of the errors, or the fit a smaller share of it."""
_WEAK = 1 / 3
"""A model that errs more often is in no position to judge labels."""
_LUCK = 0.01
_FEWEST = 30
_FIT_ROWS = 2_000
_SCALES = np.geomspace(0.02, 20, 25)
_SHARES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class LabelNoise:
    """The share of labels that are wrong at random.

    Attributes:
        share: the smaller of `sure` and `far`; its interval ends at the smaller of either end.
        sure: the share of disagreements among the surest fifth of the answers.
        far: the share of rows whose label is in the lower half of the other classes, times how few of them that is.
        fit: the share of rows whose labels fit chance better than the model's second choices; NaN where undefined.
        errors: the share of rows whose label is not the answer.
        evidence: whether all three agree that labels are wrong; else the high end of `share` is all that can be said.
    """

    share: Estimate
    sure: Estimate
    far: Estimate
    fit: float
    errors: float
    evidence: bool


def label_noise(logits: Floats, labels: Ints, groups: NDArray[np.str_] | None = None) -> LabelNoise:
    """Weigh the evidence; undefined for two classes, and with fewer than 30 rows among the surest."""
    labels, classes = np.asarray(labels, np.int64), logits.shape[1]
    answers = np.concatenate([np.zeros(0, np.int64), *(part.argmax(axis=1) for _, part in logit_parts(logits))])
    errors = answers != labels
    sure = _surest(logits)
    if classes < 3 or sure.sum() < _FEWEST:
        reason = "two classes" if classes < 3 else f"fewer than {_FEWEST} sure answers"
        none = Estimate.undefined(f"cannot be told with {reason}", n=len(labels))
        return LabelNoise(none, none, none, np.nan, _mean(errors), evidence=False)
    lower = (classes - 1) // 2
    weight = (classes - 1) / lower
    among = _spread(sure & errors, sure, answers, labels, classes, weight=1.0)[sure]
    last = _spread(
        errors & (_ranks(logits, labels) >= classes - lower), np.ones_like(sure), answers, labels, classes, weight
    )
    found = proportion(among, None if groups is None else groups[sure])
    far = _scaled(proportion(last, groups), weight)
    fit = _fit(logits, labels, np.flatnonzero(errors)) * _mean(errors)
    share = _smaller(found, far)
    noise = LabelNoise(share, found, far, fit, _mean(errors), evidence=False)
    return replace(noise, evidence=_agree(noise))


def _agree(noise: LabelNoise) -> bool:
    """Whether all the evidence is there: enough wrong labels, enough of the errors, and a fit that says the same."""
    return bool(
        noise.share.low > LEAST
        and noise.errors <= _WEAK
        and noise.share.value >= _OF_ERRORS * noise.errors
        and noise.fit >= _OF_FIT * noise.share.value
    )


def _mean(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else np.nan


def _smaller(one: Estimate, other: Estimate) -> Estimate:
    """Both are too large where the model errs, and right where it does not: each end is the smaller one."""
    low, value, high = (min(getattr(one, end), getattr(other, end)) for end in ("low", "value", "high"))
    return Estimate(value=value, low=low, high=high, n=other.n, unit=other.unit)


def _scaled(found: Estimate, weight: float) -> Estimate:
    value, low, high = (min(1.0, weight * number) for number in (found.value, found.low, found.high))
    return Estimate(value=value, low=low, high=high, n=found.n, unit=found.unit, reason=found.reason)


def _surest(logits: Floats) -> Flags:
    """The rows whose best logit leads the second by most."""
    firsts = (-np.partition(-part, 1, axis=1)[:, :2].astype(np.float64) for _, part in logit_parts(logits))
    best = np.concatenate([np.zeros((0, 2)), *firsts])
    flags = np.zeros(len(logits), bool)
    flags[np.argsort(best[:, 1] - best[:, 0], kind="stable")[: int(SURE * len(logits))]] = True
    return flags


def _ranks(logits: Floats, labels: Ints) -> Floats:
    """The place of the label among the classes, 0 for the best; ties share the middle of their places."""
    found = np.zeros(len(labels))
    for rows, part in logit_parts(logits):
        own = part[np.arange(len(part)), labels[rows]][:, None]
        above, level = (part > own).sum(axis=1), (part == own).sum(axis=1)
        found[rows] = above + (level - 1) / 2
    return found


def _spread(flags: Flags, scope: Flags, answers: Ints, labels: Ints, classes: int, weight: float) -> Flags:
    """The flagged rows without those of pairs (label, answer) that hold more of them than chance would put there.

    Wrong labels at random fill the pairs of an answer in proportion to how often it is given, up to `weight` times as
    much for pairs that are more often in scope; what crowds into one pair is a confusion of the model's.
    """
    pairs = labels * classes + answers
    names, which, counts = np.unique(pairs[flags], return_inverse=True, return_counts=True)
    given = np.bincount(answers[scope], minlength=classes)
    expected = weight * given[names % classes] / (max(1, scope.sum()) * (classes - 1))
    kept = np.ones(len(names), bool)
    while True:
        crowded = poisson.sf(counts - 1, expected * counts[kept].sum()) < _LUCK / (classes * (classes - 1))
        if not (crowded & kept).any():
            break
        kept &= ~crowded
    spread = np.zeros_like(flags)
    spread[flags] = kept[which]
    return spread


def _fit(logits: Floats, labels: Ints, errors: Ints) -> float:
    """The share of errors that are arbitrary, by maximum likelihood over it and the scale of the model's own.

    A label that is not the answer is one of the other classes: by the softmax of their logits at some temperature
    where the model confused them, any of them alike where the label is arbitrary.
    """
    if not len(errors):
        return 0.0
    if len(errors) > _FIT_ROWS:
        errors = errors[np.linspace(0, len(errors) - 1, _FIT_ROWS).astype(np.int64)]
    logits, labels = logits[errors], labels[errors]
    rows = np.arange(len(labels))
    others = logits.astype(np.float64)
    others[rows, others.argmax(axis=1)] = -np.inf
    second = others.max(axis=1)
    spans = second - np.where(np.isfinite(others), others, np.inf).min(axis=1)
    unit = float(np.median(spans)) / 5 or 1.0
    fits = [
        _likelihood(np.exp(log_softmax(others * (scale / unit), axis=1)[rows, labels]), others.shape[1])
        for scale in _SCALES
    ]
    return max(fits)[1]


def _likelihood(own: Floats, classes: int) -> tuple[float, float]:
    """The largest log-likelihood at one temperature, and the share of arbitrary labels that gives it."""
    mixed = (1 - _SHARES[:, None]) * own + _SHARES[:, None] / (classes - 1)
    sums = np.log(np.maximum(mixed, 1e-300)).sum(axis=1)
    return float(sums.max()), float(_SHARES[sums.argmax()])
