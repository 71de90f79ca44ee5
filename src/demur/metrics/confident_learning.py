"""Labels that a model's own held-out probabilities speak against: the confident joint and the likeliest images.

`logits` are (rows, classes), of rows that the model did not learn from, here or in parts; `labels` are (rows,) class
numbers. A model that judges its own errors acquits itself: each confident error of its own counts as a wrong label.
Northcutt, Jiang & Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", arXiv:1911.00068.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
_NUMBERS = 2**20
"""How many probabilities are worked out at a time: memory must not grow with rows times classes."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LogitParts:
    """Logits (rows, classes) that lie elsewhere: `read` gives them some rows at a time, from the first one on."""

    rows: int
    classes: int
    read: Callable[[], Iterable[Floats]]


@dataclass(frozen=True, eq=False)
class ConfidentJoint:
    """Rows by given label and by the class the model is confident of.

    Attributes:
        counts: (classes, classes), given label × confident class, over the rows that have one.
        confident: (rows,) the confident class of each row, −1 where it has none.
        thresholds: (classes,) mean self-confidence, the mean probability of a class over the rows labelled so.
        labels: (classes,) how many rows are labelled so.
    """

    counts: Ints
    confident: Ints
    thresholds: Floats
    labels: Ints

    @property
    def share(self) -> float:
        """The share of labels that are wrong if every confident disagreement is one; NaN without rows.

        The joint is scaled so that each label is as frequent as it was given (equation 2 of the paper).
        """
        rows = self.counts.sum(axis=1)
        agreement = np.divide(np.diag(self.counts), rows, out=np.ones(len(rows)), where=rows > 0)
        total = self.labels.sum()
        return float(1 - (agreement * self.labels).sum() / total) if total else np.nan


def confident_joint(logits: Floats | LogitParts, labels: Ints) -> ConfidentJoint:
    """Count each row under its label and the class it is confidently of.

    A class is confident where its probability is at least its mean self-confidence; of several the most probable one.
    """
    classes = logits.classes if isinstance(logits, LogitParts) else logits.shape[1]
    labels = np.asarray(labels, np.int64)
    found = np.bincount(labels, minlength=classes)
    own = np.zeros(len(labels))
    for rows, part in _probabilities(logits):
        own[rows] = part[np.arange(len(part)), labels[rows]]
    sums = np.bincount(labels, weights=own, minlength=classes)
    thresholds = np.divide(sums, found, out=np.full(classes, np.inf), where=found > 0)
    confident = np.full(len(labels), -1, np.int64)
    for rows, part in _probabilities(logits):
        above = np.where(part >= thresholds - 1e-12, part, -1.0)
        best = above.argmax(axis=1)
        confident[rows] = np.where(above[np.arange(len(part)), best] >= 0, best, -1)
    counts = np.zeros((classes, classes), np.int64)
    has = confident >= 0
    np.add.at(counts, (labels[has], confident[has]), 1)
    return ConfidentJoint(counts, confident, thresholds, found)


def suspects(logits: Floats | LogitParts, labels: Ints, most: int) -> tuple[Ints, Ints]:
    """The rows whose labels are the likeliest to be wrong, the likeliest first, and the class suggested for each.

    They are off the diagonal of the confident joint, by how many logits the suggested class lies above the given one.
    """
    joint = confident_joint(logits, labels)
    rows = np.flatnonzero((joint.confident >= 0) & (joint.confident != labels))
    lead = np.zeros(len(rows))
    for part, own in logit_parts(logits):
        at = slice(*np.searchsorted(rows, (part.start, part.start + len(own))))
        places = rows[at] - part.start
        lead[at] = own[places, joint.confident[rows[at]]].astype(np.float64) - own[places, labels[rows[at]]]
    chosen = rows[np.argsort(-lead, kind="stable")[:most]]
    return chosen, joint.confident[chosen]


def _probabilities(logits: Floats | LogitParts) -> Iterator[tuple[slice, Floats]]:
    for rows, part in logit_parts(logits):
        yield rows, np.exp(log_softmax(part.astype(np.float64), axis=1))


def logit_parts(logits: Floats | LogitParts) -> Iterator[tuple[slice, Floats]]:
    """The logits of some rows at a time, of as many wherever they lie."""
    if isinstance(logits, LogitParts):
        yield from _regrouped(logits)
        return
    step = max(1, _NUMBERS // max(1, logits.shape[1]))
    for start in range(0, len(logits), step):
        yield slice(start, start + step), logits[start : start + step]


def _regrouped(logits: LogitParts) -> Iterator[tuple[slice, Floats]]:
    step, start, count, held = max(1, _NUMBERS // max(1, logits.classes)), 0, 0, list[Floats]()
    for part in logits.read():
        held, count = [*held, part], count + len(part)
        while count >= step:
            whole = np.concatenate(held)
            yield slice(start, start + step), whole[:step]
            held, start, count = [whole[step:]], start + step, count - step
    if count:
        yield slice(start, start + count), np.concatenate(held)
