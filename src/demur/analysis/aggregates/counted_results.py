"""Results of more rows than are held: tables of a sample, and in place of them what all rows tell."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from demur.analysis.accuracy.overall import corruption_map, worst_class
from demur.analysis.aggregates import binned_tables, counted_tables
from demur.analysis.aggregates.binned_tables import Grid
from demur.analysis.aggregates.counted_rows import CountedRun
from demur.analysis.results import Aggregates, Results
from demur.analysis.row_design import alike
from demur.analysis.verdict.checks import CONFIRMATION, confirmation
from demur.analysis.verdict.imbalance import is_uninformative, remedy_words
from demur.analysis.verdict.verdict import next_step, out_of_scope, state
from demur.analysis.verdict.verdict_tables import Check


def with_counts(own: CountedRun, sampled: Results, purpose: Mapping[str, Any]) -> Results:
    """The results of a sample, with every table that counts tell in place of the sample's."""
    grid, risk = Grid(own), sampled.stated_risk
    classes, conditions = counted_tables.class_rows(own), counted_tables.condition_rows(own, sampled.conditions)
    told = {row.condition: row.accuracy for row in conditions}
    found = sampled.model_copy(
        update={
            "accuracy": counted_tables.accuracy(own.rows("clean")),
            "test_accuracy": counted_tables.accuracy(own.unfitted),
            "conditions": conditions,
            "per_class": classes,
            "worst_class": worst_class(classes),
            "confusion": counted_tables.confusion(own),
            "confusions": counted_tables.confusions(own),
            "policies": counted_tables.policy_rows(own, sampled.policies),
            "attacks": tuple(
                row.model_copy(update=counted_tables.passes(own, row.condition)) for row in sampled.attacks
            ),
            "corruption_map": corruption_map(own.run, told),
            "out_of_scope": out_of_scope(conditions, own.run),
            "random_risk": own.unfitted.share(pl.col("wrong")).value,
            "oracle": binned_tables.oracle_curve(own),
            "signals": binned_tables.signal_rows(grid, sampled.signals, risk),
            "curves": binned_tables.curves(grid),
            "histograms": binned_tables.histograms(grid),
            "calibration": binned_tables.calibration(own, sampled.calibration),
            **_verdict(own, sampled, purpose, grid),
        }
    )
    return found.model_copy(update={"aggregates": _aggregates(own, grid)})


def _verdict(own: CountedRun, sampled: Results, purpose: Mapping[str, Any], grid: Grid) -> dict[str, Any]:
    """The guarantee or its refusal, the check that confirms it, and what follows from both."""
    run, made, refused = own.run, counted_tables.guarantee(own, sampled.guarantee), sampled.refusal
    if made is not None:
        made = made.model_copy(update={"attainable": binned_tables.attainable(grid, made.signal, made.risk)})
    if refused is not None and run.refusal is not None:
        most = binned_tables.attainable(grid, run.refusal["signal"], refused.risk)
        refused = refused.model_copy(update={"attainable": most})
    checked = tuple(_confirmed(own, check) for check in sampled.checks)
    constant = counted_tables.constant_answer(own)
    positive = counted_tables.positive_bound(own, sampled.positive)
    found = state(run, checked, informative=not is_uninformative(constant, positive))
    return {
        "guarantee": made,
        "refusal": refused,
        "checks": checked,
        "constant": constant,
        "positive": positive,
        "state": found,
        "next_step": next_step(found, checked, run, remedy_words(constant, positive), purpose),
    }


def _confirmed(own: CountedRun, check: Check) -> Check:
    """The check of the guarantee by all test rows in place of that by some."""
    guard = own.run.guard
    if check.name != CONFIRMATION or guard is None or not own.run.has_test_rows:
        return check
    return confirmation(guard, own.parts("clean"))


def _aggregates(own: CountedRun, grid: Grid) -> Aggregates:
    run, sample = own.run, own.run.sample
    assert sample is not None
    entries = run.conditions("corruption")
    corrupted = len(sample.tables[entries[0]["name"]]) if entries else None
    return Aggregates(
        rows=int(sample.effort["rows"].sum()),
        images=run.planned("clean"),
        sampled=len(alike(sample.tables["clean"])),
        sampled_corrupted=corrupted,
        weighted=sum(run.planned(name) for name in run.weighted) or None,
        sampled_weighted=sum(len(sample.tables[name]) for name in run.weighted) or None,
        cells=max(len(grid.ends(name)) for name in run.signals),
        slack={name: max(found.values()) for name, found in grid.slack.items()},
        signal_slack=grid.slack,
    )


def counted_files(own: CountedRun) -> dict[str, pl.DataFrame]:
    """The tables with a line for each threshold or pair of classes, of all rows, by the name of their file."""
    steps = [*binned_tables.all_steps(grid=Grid(own))]
    confused = [_confused(own, entry["name"]) for entry in own.run.conditions()]
    return {
        name: pl.concat(found) for name, found in (("risk-coverage.csv", steps), ("confusion.csv", confused)) if found
    }


def _confused(own: CountedRun, condition: str) -> pl.DataFrame:
    """How many images of a class were given an answer, by name."""
    counts, names = counted_tables.confusion_counts(own.rows(condition)), pl.Series(own.run.classes, dtype=pl.String())
    told = counts.with_columns(**{column: names.gather(counts[column]) for column in ("label", "predicted")})
    return told.select(pl.lit(condition).alias("condition"), "label", "predicted", "count")
