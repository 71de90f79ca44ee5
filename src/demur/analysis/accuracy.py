"""Accuracy: overall, per condition at the frozen threshold, per class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.results import ClassRow, ConditionRow, Quantity
from demur.analysis.robustness import beaten, sized
from demur.analysis.run import Run, wrong
from demur.analysis.run import share as share
from demur.analysis.standing import standing
from demur.policies import CertifiedThreshold

FEWEST_ANSWERED = 20
"""A share of fewer answers is no ground for a judgement."""


def accuracy(rows: pl.DataFrame) -> Quantity:
    """The share of right answers."""
    return share(~wrong(rows), rows)


def condition_rows(run: Run) -> tuple[ConditionRow, ...]:
    """Every condition: accuracy over all of its rows, and what the guard answers of its test rows."""
    return tuple(_condition(run, entry) for entry in run.conditions())


def _condition(run: Run, entry: Mapping[str, Any]) -> ConditionRow:
    rows = run.rows(entry["name"])
    return ConditionRow(
        condition=entry["name"],
        family=entry["family"],
        kind=entry["kind"],
        sentence=entry["sentence"],
        severity=entry["severity"],
        n=len(rows),
        accuracy=share(~beaten(rows, entry), rows),
        forwards=int(rows["forwards"].sum()),
        backwards=int(rows["backwards"].sum()),
        **_at_threshold(run, entry),
    )


def _at_threshold(run: Run, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the guard makes of a condition; undefined where the points kept are not all of the size it is judged at."""
    if run.guard is None or sized(entry):
        return dict.fromkeys(("answered", "answered_wrong", "coverage", "risk", "holds"))
    return _guarded(run, run.guard, run.rows(entry["name"], "test"), judged=entry.get("keep") != "nearest")


def _guarded(run: Run, guard: CertifiedThreshold, test: pl.DataFrame, *, judged: bool) -> dict[str, Any]:
    """What the guard makes of test rows: counts by the unit of the promise, shares of all rows.

    `holds` compares the share of wrong answers seen with the one promised. It stays open below 20 answers, and where an
    attack looks for the nearest point, for there no size of change was fixed.
    """
    answered = run.answered(guard, test)
    accepted, units = test.filter(answered), standing(test)
    given = units.filter(run.answered(guard, units))
    errors = int(wrong(given).sum())
    told = judged and len(given) >= FEWEST_ANSWERED
    return {
        "answered": len(given),
        "answered_wrong": errors,
        "coverage": share(answered, test),
        "risk": share(wrong(accepted), accepted),
        "holds": errors <= guard.certificate.risk * len(given) if told else None,
    }


def class_rows(run: Run) -> tuple[ClassRow, ...]:
    """Every class over clean test rows, by true label."""
    test = run.rows("clean", "test")
    answered = None if run.guard is None else run.answered(run.guard, test)
    return tuple(_class(test, answered, k, name) for k, name in enumerate(run.classes))


def _class(test: pl.DataFrame, answered: Any, k: int, name: str) -> ClassRow:
    of_class = (test["label"] == k).to_numpy()
    rows = test.filter(of_class)
    if answered is None:
        return ClassRow(name=name, n=len(rows), accuracy=accuracy(rows), coverage=None, risk=None)
    accepted = test.filter(of_class & answered)
    return ClassRow(
        name=name,
        n=len(rows),
        accuracy=accuracy(rows),
        coverage=share(answered[of_class], rows),
        risk=share(wrong(accepted), accepted),
    )


def worst_class(rows: tuple[ClassRow, ...]) -> ClassRow | None:
    """The class with the most wrong among its answered images, else the least accurate one.

    Classes of fewer than 20 images are left out if there are others. If the guard answers fewer than 20 images of any
    class, all are ranked by accuracy: the class it declines almost wholly would escape a ranking of answers.
    """
    large = [row for row in rows if row.n >= FEWEST_ANSWERED] or [row for row in rows if row.n]
    if large and all(row.risk and enough_answered(row.coverage, row.n) for row in large):
        return max(large, key=lambda row: row.risk.value if row.risk else 0.0)
    return min(large, key=lambda row: row.accuracy.value, default=None)


def enough_answered(coverage: Quantity | None, n: int) -> bool:
    """Whether at least 20 of `n` images are answered."""
    return coverage is not None and coverage.value * n >= FEWEST_ANSWERED - 1e-9


def confusion(run: Run) -> tuple[tuple[int, ...], ...]:
    """Counts of clean held-out rows: one row per label, one column per prediction."""
    rows, size = run.rows("clean"), len(run.classes)
    counts = np.zeros((size, size), dtype=int)
    np.add.at(counts, (rows["label"].to_numpy(), rows["predicted"].to_numpy()), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)
