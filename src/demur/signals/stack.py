"""Several signals weighed into one."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.errors import InputError
from demur.evidence import Evidence, surrogate_of
from demur.metrics import Estimate
from demur.metrics.delong import auroc_gain
from demur.registry import name_of, registered_as
from demur.shapes import Flags, Labels, Scores
from demur.signals import LOGITS, AnySignal, Fittable, Needs, Signal, needs_of
from demur.signals.regression import Logistic, NormalScores, ReferenceFold, folds_of, units_of
from demur.signals.softmax_scores import MSP, Energy, Entropy, Margin, MaxLogit

FEWEST = 10
"""Errors, and right answers, below which nothing is learned from a reference."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The log-odds of an error by a logistic regression on several signals: high when together they speak for one.

    Each signal is put on one scale by its rank among the reference; the weights carry an L2 `penalty`. The reference is
    cut into `folds`, by group where there are groups. A signal that must be fitted itself is fitted outside a fold and
    scored inside it, and the held-out gain in AUROC over msp comes from regressions that were not fitted on the fold.
    The final one sees all.

    Wolpert (1992), "Stacked generalization".
    """

    unit: ClassVar[str] = "log-odds"

    signals: tuple[AnySignal, ...] = field(
        default=(MSP(), Entropy(), Margin(), MaxLogit(), Energy()), metadata=registered_as("signal")
    )
    folds: int = 5
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.signals:
            raise InputError("stack: `signals` must name at least one signal; got none.")
        if self.folds < 2:
            raise InputError(f"stack: `folds` must be at least 2; got {self.folds}.")
        if not 0 < self.penalty < math.inf:
            raise InputError(f"stack: `penalty` must be positive and finite; got {self.penalty}.")

    @property
    def needs(self) -> Needs:
        total = reduce(or_, map(needs_of, self.signals), LOGITS)
        return replace(total, fitting=total.passes + (self.folds + 1) * total.fitting)

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "FittedStack":
        units, grouped = units_of(reference)
        fold = folds_of(units, self.folds)
        if len(torch.unique(fold)) < 2:
            raise _too_alike(units)
        scores, baseline, wrong = self._held_out(reference, labels, fold)
        few = min(int(wrong.sum()), int((~wrong).sum()))
        if few < FEWEST:
            raise InputError(
                f"it learns to tell errors from right answers and needs {FEWEST} of each among the reference images; "
                f"there are {few} of one kind. Bring more images, or a signal that learns nothing from errors."
            )
        unseen = torch.empty(len(labels), dtype=torch.float64)
        if any(len(torch.unique(wrong[fold != k])) < 2 for k in torch.unique(fold)):
            raise _too_alike(units)
        for inside in (fold == k for k in torch.unique(fold)):
            weighing = Weighing.fit(scores[~inside], wrong[~inside], self.penalty)
            # the more errors inside, the fewer outside: the intercept would speak against this fold as a whole
            unseen[inside] = weighing(scores[inside]) - weighing.regression.intercept
        return FittedStack(
            names=tuple(name_of("signal", signal) for signal in self.signals),
            signals=tuple(_ready(self.signals, reference, labels)),
            weighing=Weighing.fit(scores, wrong, self.penalty),
            gain=auroc_gain(unseen.numpy(), baseline.numpy(), wrong.numpy(), units if grouped else None),
        )

    def _held_out(self, reference: Iterable[Evidence], labels: Labels, fold: Labels) -> tuple[Tensor, Scores, Flags]:
        """Scores (rows, signals) by signals that were not fitted on the row, msp, and which answers are wrong."""
        scores = torch.empty(len(labels), len(self.signals), dtype=torch.float64)
        baseline = torch.empty(len(labels), dtype=torch.float64)
        answers = torch.empty_like(labels)
        for k in torch.unique(fold):
            inside = fold == k
            ready = _ready(self.signals, ReferenceFold(reference, ~inside), labels[~inside])
            start, rows = 0, inside.nonzero()[:, 0]
            for evidence in ReferenceFold(reference, inside):
                here = rows[start : start + len(evidence)]
                start += len(evidence)
                scores[here] = _columns(ready, evidence).detach()
                baseline[here] = MSP()(evidence).detach()
                answers[here] = evidence.logits.argmax(dim=1)
        return scores, baseline, answers != labels


@dataclass(frozen=True, eq=False)
class Weighing:
    """Columns of scores, each on its own curve, in a logistic regression."""

    curves: tuple[NormalScores, ...]
    regression: Logistic

    @classmethod
    def fit(cls, columns: Tensor, wrong: Flags, penalty: float) -> "Weighing":
        """The weighing of columns (rows, signals) that tells the wrong answers best."""
        curves = tuple(NormalScores.of(column) for column in columns.T)
        return cls(curves, Logistic.fit(_placed(curves, columns), wrong, penalty))

    def __call__(self, columns: Tensor) -> Scores:
        """The log-odds of an error."""
        return self.regression(_placed(self.curves, columns))

    def with_gradient(self, columns: Tensor) -> Scores:
        """The same with a gradient with respect to the columns."""
        pairs = zip(self.curves, columns.T, strict=True)
        return self.regression(torch.stack([curve.with_gradient(column) for curve, column in pairs], dim=1))

    def facts(self, names: Iterable[str]) -> Mapping[str, Any]:
        """The numbers that make it."""
        of = self.regression
        columns = zip(names, self.curves, of.means.tolist(), of.scales.tolist(), of.weights.tolist(), strict=True)
        return {
            "signals": [
                {
                    "name": name,
                    "weight": weight,
                    "mean": mean,
                    "scale": scale,
                    "knots": curve.knots.tolist(),
                    "places": curve.places.tolist(),
                }
                for name, curve, mean, scale, weight in columns
            ],
            "intercept": of.intercept,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedStack:
    """The signals, how they are weighed, and what that gained over msp on rows it was not fitted on."""

    unit: ClassVar[str] = Stack.unit

    names: tuple[str, ...]
    signals: tuple[Signal, ...]
    weighing: Weighing
    gain: Estimate

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that makes the score, in plain numbers, and the held-out gain over msp."""
        gain = {key: None if value != value else value for key, value in asdict(self.gain).items()}
        return {**self.weighing.facts(self.names), "auroc_gain_over_msp": gain}

    def __call__(self, evidence: Evidence) -> Scores:
        return self.weighing(_columns(self.signals, evidence))

    def surrogate(self, evidence: Evidence) -> Scores:
        """The same of the surrogates of its signals, with the slopes of the curves."""
        return self.weighing.with_gradient(
            torch.stack([surrogate_of(each, evidence).cpu() for each in self.signals], dim=1)
        )


def _too_alike(units: NDArray[np.str_]) -> InputError:
    return InputError(
        "its gain is measured on groups that the regression was not fitted on, so errors and right answers must lie in "
        "several folds, and groups are not torn apart; number of groups among the reference images: "
        f"{len(np.unique(units))}. Bring images of more groups, or leave the stack out."
    )


def _placed(curves: Iterable[NormalScores], columns: Tensor) -> Tensor:
    return torch.stack([curve(column) for curve, column in zip(curves, columns.T, strict=True)], dim=1)


def _columns(signals: Iterable[Signal], evidence: Evidence) -> Tensor:
    return torch.stack([signal(evidence).cpu() for signal in signals], dim=1)


def _ready(signals: Iterable[AnySignal], reference: Iterable[Evidence], labels: Labels) -> list[Signal]:
    return [signal.fit(reference, labels) if isinstance(signal, Fittable) else signal for signal in signals]
