"""Which way the model errs: positives that escape, and the others that raise a false alarm."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from demur.analysis.accuracy import share
from demur.analysis.results import AtPrevalence, Direction, DirectionRow, Quantity, Side
from demur.analysis.run import Flags, Run, groups, wrong
from demur.metrics.prevalence import (
    ClassRate,
    error_rate_at,
    negative_predictive,
    positive_predictive,
    selective_risk_at,
)
from demur.registry.direction import read_prevalence

ANOTHER = "another class"


def direction(run: Run, data: Mapping[str, Any]) -> Direction | None:
    """Misses and false alarms under every condition; None where the plan's `[data]` names no positive class."""
    name = data.get("positive")
    if name is None:
        return None
    positive, clean = run.classes.index(name), run.rows("clean")
    others = [other for other in run.classes if other != name]
    return Direction(
        positive=name,
        others=others[0] if len(others) == 1 else ANOTHER,
        measured=share((clean["label"] == positive).to_numpy(), clean),
        rows=tuple(_row(run, entry, positive) for entry in run.conditions()),
        at=_at(run, positive, data["prevalence"]) if "prevalence" in data else (),
    )


def _row(run: Run, entry: Mapping[str, Any], positive: int) -> DirectionRow:
    rows, test = run.rows(entry["name"]), run.rows(entry["name"], "test")
    answered = None if run.guard is None else run.answered(run.guard, test)
    missed, alarmed = (_side(rows, test, answered, positive, inside=inside) for inside in (True, False))
    return DirectionRow(
        condition=entry["name"], kind=entry["kind"], sentence=entry["sentence"], missed=missed, alarmed=alarmed
    )


def _side(rows: pl.DataFrame, test: pl.DataFrame, answered: Flags | None, positive: int, *, inside: bool) -> Side:
    own = rows.filter((pl.col("label") == positive) == inside)
    of_side = ((test["label"] == positive) == inside).to_numpy()
    mine = test.filter(of_side)
    crossed = _crossed(mine, positive)
    given = None if answered is None else answered[of_side]
    return Side(
        n=len(own),
        taken=share(_crossed(own, positive), own),
        test_n=len(mine),
        test_taken=share(crossed, mine),
        slipped=None if given is None else share(crossed & given, mine),
        among_answered=None if given is None else share(crossed[given], mine.filter(given)),
        passed_on=None if given is None else share(~given, mine),
    )


def _crossed(rows: pl.DataFrame, positive: int) -> Flags:
    """Which rows are taken for the other side; a mix-up among the others is none."""
    return ((rows["predicted"] == positive) != (rows["label"] == positive)).to_numpy()


def _at(run: Run, positive: int, text: str) -> tuple[AtPrevalence, ...]:
    _, prevalence = read_prevalence(text, run.classes[positive])
    bare = _worth(run.rows("clean"), None, positive, prevalence)
    if run.guard is None:
        return (bare,)
    test = run.rows("clean", "test")
    return (_worth(test, run.answered(run.guard, test), positive, prevalence), bare)


def _worth(rows: pl.DataFrame, answered: Flags | None, positive: int, prevalence: float) -> AtPrevalence:
    """Rates within each side, put together at the prevalence; a declined image is no answer at all."""
    given = rows["label"].is_not_null().to_numpy() if answered is None else answered
    called, errors = (rows["predicted"] == positive).to_numpy(), wrong(rows)
    hit, alarm = _rates(rows, given & called, positive)
    miss, clear = _rates(rows, given & ~called, positive)
    faults, rights = _rates(rows, given & errors, positive), _rates(rows, given & ~errors, positive)
    risk = error_rate_at(faults, prevalence) if answered is None else selective_risk_at(faults, rights, prevalence)
    return AtPrevalence(
        guarded=answered is not None,
        prevalence=prevalence,
        ppv=Quantity.of(positive_predictive(hit, alarm, prevalence)),
        npv=Quantity.of(negative_predictive(miss, clear, prevalence)),
        risk=Quantity.of(risk),
    )


def _rates(rows: pl.DataFrame, flags: Flags, positive: int) -> tuple[ClassRate, ClassRate]:
    """Of the positives, and of the others."""
    inside, units = (rows["label"] == positive).to_numpy(), groups(rows)
    one, other = (ClassRate.of(flags[own], None if units is None else units[own]) for own in (inside, ~inside))
    return one, other
