"""Accuracy: overall, per condition at the frozen threshold, per class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.results import ClassRow, ConditionRow, Quantity
from demur.analysis.run import Run, groups, wrong
from demur.metrics import proportion

_FEWEST_ANSWERED = 20


def share(flags: np.ndarray[Any, np.dtype[np.bool_]], rows: pl.DataFrame) -> Quantity:
    """The share of rows that are flagged, with its interval, per image or per group."""
    return Quantity.of(proportion(flags, groups(rows)))


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
        accuracy=accuracy(rows),
        forwards=int(rows["forwards"].sum()),
        backwards=int(rows["backwards"].sum()),
        **_guarded(run, run.rows(entry["name"], "test")),
    )


def _guarded(run: Run, test: pl.DataFrame) -> dict[str, Any]:
    """What the guard makes of test rows. `holds` compares the share of wrong answers seen with the one promised."""
    if run.guard is None:
        return dict.fromkeys(("answered", "answered_wrong", "coverage", "risk", "holds"))
    answered = run.answered(run.guard, test)
    accepted = test.filter(answered)
    errors = int(wrong(accepted).sum())
    return {
        "answered": len(accepted),
        "answered_wrong": errors,
        "coverage": share(answered, test),
        "risk": share(wrong(accepted), accepted),
        "holds": errors <= run.guard.certificate.risk * len(accepted) if len(accepted) else None,
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
    """The class with the most wrong among its answered images (at least 20 of them), else the least accurate one."""
    guarded = [row for row in rows if row.risk and row.coverage and row.coverage.value * row.n >= _FEWEST_ANSWERED]
    if guarded:
        return max(guarded, key=lambda row: row.risk.value if row.risk else 0.0)
    measured = [row for row in rows if row.n]
    return min(measured, key=lambda row: row.accuracy.value) if measured else None


def confusion(run: Run) -> tuple[tuple[int, ...], ...]:
    """Counts of clean held-out rows: one row per label, one column per prediction."""
    rows, size = run.rows("clean"), len(run.classes)
    counts = np.zeros((size, size), dtype=int)
    np.add.at(counts, (rows["label"].to_numpy(), rows["predicted"].to_numpy()), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)
