"""A threshold that keeps answered errors rare within every class, however common the classes are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import InputError, unknown
from demur.metrics.binomial import (
    check_levels,
    labels_without_error,
    most_errors,
    risk_lower_bound,
    risk_upper_bound,
)
from demur.policies.certificate import Reason, Refusal
from demur.policies.class_certificate import ClassCertificate, ClassCount
from demur.policies.coverage_bound import bound_coverage
from demur.policies.fixed_sequence import Calibration, ThresholdGrid
from demur.policies.look import FIRST_LOOK, Look


@dataclass(frozen=True, eq=False)
class Classes:
    """The names of the classes, and the number of the label of each row, (rows,)."""

    names: Sequence[str]
    labels: NDArray[Any]


@dataclass(frozen=True, eq=False)
class ClassRows:
    """The certify units of one class: its name, the share it is to keep to, its rows."""

    name: str
    risk: float
    rows: Calibration

    def limit(self, level: float) -> float | None:
        """The score that a threshold must stay below: of the first error too many; None if too few rows pass at all."""
        most = most_errors(len(self.rows), self.risk, level)
        ends = np.sort(self.rows.reach[0][np.asarray(self.rows.wrong, bool)])
        return None if most < 0 else float(ends[most]) if most < len(ends) else np.inf

    def count(self, threshold: float, level: float) -> ClassCount:
        """What a threshold does to it."""
        found, n = self.rows.counts(threshold), len(self.rows)
        bound = risk_upper_bound(found.wrong, n, level)
        return ClassCount(name=self.name, risk=self.risk, n=n, answered=found.answered, wrong=found.wrong, bound=bound)


@dataclass(frozen=True, kw_only=True)
class CertifiedByClass:
    """The laxest threshold of which it can be shown that at most `risk` of the images of each class is answered wrong.

    Classes are those of the labels; `risks` names other shares for some, such as `["defect=0.005"]`. One sequence of
    thresholds is climbed, and a step passes iff every class passes its exact binomial test at `delta`: a step that
    must not pass has a class that must not. Holds at any mixture of the classes.
    Berger (1982), "Multiparameter hypothesis testing and acceptance sampling" (intersection–union tests).
    """

    risk: float = 0.02
    delta: float = 0.05
    risks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for risk in (self.risk, *self._own.values()):
            check_levels(risk, self.delta)

    @property
    def _own(self) -> Mapping[str, float]:
        found = {}
        for text in self.risks:
            name, _, share = text.rpartition("=")
            try:
                found[name] = float(share)
            except ValueError:
                name = ""
            if not name:
                raise InputError(f"`risks` names a class and its share, such as 'defect=0.005'; got {text!r}.")
        return found

    def fit(
        self,
        tune: Calibration,
        certify: Calibration,
        classes: Classes,
        look: Look = FIRST_LOOK,
        unlabelled: Calibration | None = None,
    ) -> ClassCertificate | Refusal:
        """A guarantee for every class, or a refusal that names the class which stands in the way.

        Args:
            tune: rows that place the thresholds; their labels are not read.
            certify: rows that test them; of groups one image of each class counts.
            classes: the class names, and the label of each certify row.
            look: which look at these labels this is; it says what of `delta` there is to spend.
            unlabelled: rows that chose nothing, whose scores bound the coverage.

        Raises:
            InputError: there are no tune rows, or `risks` names a class that is none.
        """
        if not len(tune):
            raise InputError("a threshold for all classes needs tune rows to place it; there are none. Give some.")
        level, grid = look.risk_level(self.delta), ThresholdGrid.of(tune.scores)
        parts = self._parts(certify, classes)
        limits = [limit for part in parts if (limit := part.limit(level)) is not None]
        if len(limits) < len(parts):
            return _too_few([part for part in parts if part.limit(level) is None], self.delta, look)
        usable = grid.thresholds[grid.thresholds < min(limits)]
        if not len(usable):
            return _too_weak(parts, self.delta, look)
        threshold, steps = float(usable[-1]), len(grid.thresholds)
        own = certify.one_per_group(), None if unlabelled is None else unlabelled.one_per_group()
        return ClassCertificate(
            threshold=threshold,
            risk=max(part.risk for part in parts),
            delta=self.delta,
            level=level,
            classes=tuple(part.count(threshold, level) for part in parts),
            near=sum(part.rows.counts(threshold).near for part in parts),
            tolerance=certify.tolerance,
            unit=certify.unit,
            grid=steps,
            tests=min(len(usable) + 1, steps),
            procedure=_PROCEDURE.format(level=level),
            look=look,
            coverage=bound_coverage(threshold, look.coverage_level(self.delta), own[0], steps, own[1]),
        )

    def _parts(self, certify: Calibration, classes: Classes) -> list[ClassRows]:
        own = self._own
        for name in own:
            if name not in classes.names:
                raise unknown("class", name, classes.names)
        return [
            ClassRows(name, own.get(name, self.risk), certify.rows(classes.labels == k).one_per_group())
            for k, name in enumerate(classes.names)
        ]


_PROCEDURE = (
    "fixed-sequence testing over all tune thresholds, a step passing iff the exact binomial test of every class passes "
    "at level {level:g}; exact bound on coverage"
)


def _too_few(short: list[ClassRows], delta: float, look: Look) -> Refusal:
    """Some classes have fewer labels than a faultless model needs."""
    level = look.risk_level(delta)
    worst = min(short, key=lambda part: len(part.rows) / labels_without_error(part.risk, level))
    n, needed = len(worst.rows), labels_without_error(worst.risk, look.next.risk_level(delta))
    others = len(short) - 1
    more = f"; {others} more {'class has' if others == 1 else 'classes have'} too few" if others else ""
    least = f", and these can prove {100 * (1 - level ** (1 / n)):.3g} % at best" if n else ""
    return _refusal(
        worst,
        (delta, look),
        "too_few_labels",
        needed,
        f"the class {worst.name!r} has {n:,} labelled {worst.rows.unit}s{least}; at least {needed:,} are needed at the "
        f"next look for {100 * worst.risk:.3g} %{more}.",
    )


def _too_weak(parts: list[ClassRows], delta: float, look: Look) -> Refusal:
    """Even the strictest threshold answers too many of a class wrong."""
    level = look.risk_level(delta)
    worst = min(parts, key=lambda part: part.limit(level) or 0.0)
    n, errors = len(worst.rows), int(np.count_nonzero(worst.rows.wrong))
    weak = risk_lower_bound(errors, n, level) > worst.risk
    return _refusal(
        worst,
        (delta, look),
        "model_too_weak" if weak else "too_few_labels",
        None,
        f"even the strictest threshold may answer more than {100 * worst.risk:.3g} % of class {worst.name!r} wrong.",
    )


def _refusal(part: ClassRows, spending: tuple[float, Look], reason: Reason, needed: int | None, why: str) -> Refusal:
    """Nothing for every class, because of one of them."""
    delta, look = spending
    return Refusal(
        reason=reason,
        risk=part.risk,
        delta=delta,
        labels_given=len(part.rows),
        labels_needed=needed,
        lowest_risk=float("nan"),
        unit=part.rows.unit,
        sentence=f"Nothing can be guaranteed for every class: {why}",
        look=look,
    )
