"""Tables that counts of all rows tell exactly: accuracy, classes, confusions, the guarantee, policies."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.accuracy.confusions import MANY, Answer, ConfusionPair, Confusions
from demur.analysis.accuracy.overall import ClassRow, ConditionRow, Measure
from demur.analysis.aggregates.counted_rows import WRONG, Counted, CountedRun
from demur.analysis.aggregates.group_views import CLASSES, PAIRS, policy_view
from demur.analysis.aggregates.row_counts import ACCEPTED, SITE
from demur.analysis.quantity import Quantity
from demur.analysis.robustness.attack_tables import is_sized
from demur.analysis.run_folder import Run
from demur.analysis.signals.decision_tables import PolicyRow, untouched
from demur.analysis.verdict.guarantees import GuaranteePart
from demur.analysis.verdict.imbalance import Alike, ConstantAnswer, PositiveBound
from demur.analysis.verdict.verdict import Guarantee
from demur.metrics import p_value, risk_upper_bound
from demur.metrics.estimate import Estimate, Unit
from demur.metrics.failure_table import FailureTable, failure_table_of
from demur.policies import Certificate, CertifiedPolicy, ClassThreshold, SiteThresholds
from demur.policies.keeping import Part, judged

_PAIRS, _ANSWERS = 40, 3


def accuracy(rows: Counted) -> Quantity:
    """The share of right answers."""
    return rows.share(~WRONG)


def condition_rows(own: CountedRun, sampled: tuple[ConditionRow, ...]) -> tuple[ConditionRow, ...]:
    """Every condition, over all of its rows; one with design weights, over the sample and at the cost of all."""
    entries = {entry["name"]: entry for entry in own.run.conditions()}
    return tuple(row.model_copy(update=_condition(own, entries[row.condition])) for row in sampled)


def passes(own: CountedRun, condition: str) -> dict[str, Any]:
    """What all rows of a condition took that take part."""
    spent = own.counts.effort.filter(pl.col("condition") == condition)
    return {name: int(spent[f"kept_{name}"].sum()) for name in ("forwards", "backwards")}


def _condition(own: CountedRun, entry: Mapping[str, Any]) -> dict[str, Any]:
    found = passes(own, entry["name"])
    if entry["name"] in own.run.weighted:
        return found
    rows = own.rows(entry["name"])
    found |= {"n": rows.n, "accuracy": rows.share(~pl.col("fooled"))}
    if own.run.guard is None or is_sized(entry):
        return found
    test, units = own.rows(entry["name"], ["test"]), own.singles(entry["name"], ["test"])
    given = units.where(own.answered)
    return found | {
        "answers": given.n,
        "wrong_answers": given.number(WRONG),
        "coverage": test.share(own.answered),
        "risk": test.where(own.answered).share(WRONG),
        "holds": judged(own.parts(entry["name"])) if entry.get("keep") != "nearest" else None,
    }


def class_rows(own: CountedRun) -> tuple[ClassRow, ...]:
    """Every class over clean test rows, by true label; without any, over all rows and without the guard."""
    test, guarded = own.unfitted_rows(CLASSES), own.run.guard is not None and own.run.has_test_rows
    several = test.table["label"].n_unique()
    found = []
    for k, name in enumerate(own.run.classes):
        rows = test.where(pl.col("label") == k)
        given = rows.where(own.answered) if guarded else rows
        shares: dict[Measure, tuple[Counted, Any]] = {"accuracy": (rows, ~WRONG)}
        if guarded:
            shares |= {"coverage": (rows, own.answered), "risk": (given, WRONG)}
        every, alone = _at_once_and_alone(shares, several, test.unit)
        found.append(
            ClassRow(
                name=name,
                n=rows.n,
                accuracy=every["accuracy"],
                coverage=every.get("coverage"),
                risk=every.get("risk"),
                alone=alone,
                wrong_answers=_wrong_answers(own.run, given.where(WRONG)),
            )
        )
    return tuple(found)


def _at_once_and_alone(
    shares: Mapping[Measure, tuple[Counted, Any]], several: int, unit: Unit
) -> tuple[dict[Measure, Quantity], dict[Measure, Quantity]]:
    """Shares with the intervals that hold for all of `several` classes at once, and for one by itself."""
    found = {
        name: [Quantity.of(each) for each in rows.estimates(flagged, several=(several, 1), unit=unit)]
        for name, (rows, flagged) in shares.items()
    }
    return {name: pair[0] for name, pair in found.items()}, {name: pair[1] for name, pair in found.items()}


def _wrong_answers(run: Run, rows: Counted) -> tuple[Answer, ...]:
    found = rows.table.group_by("predicted").agg(pl.col("count").sum())
    listed = found.sort("count", "predicted", descending=[True, False]).head(_ANSWERS)
    return tuple(Answer(name=run.classes[answer], n=count) for answer, count in listed.rows())


def confusion_counts(rows: Counted) -> pl.DataFrame:
    """How many rows there are of each label and prediction, in their order; pairs without rows are left out."""
    return rows.table.group_by("label", "predicted").agg(pl.col("count").sum()).sort("label", "predicted")


def confusion(own: CountedRun) -> tuple[tuple[int, ...], ...]:
    """Counts of clean held-out rows, one row per label and one column per prediction; empty above 50 classes."""
    size = len(own.run.classes)
    if size > MANY:
        return ()
    counts = np.zeros((size, size), dtype=int)
    for label, answer, count in confusion_counts(own.rows("clean")).rows():
        counts[label, answer] = count
    return tuple(tuple(int(count) for count in row) for row in counts)


def confusions(own: CountedRun) -> Confusions:
    """The most frequent confusions of clean held-out images."""
    rows, size = own.rows("clean", view=PAIRS), len(own.run.classes)
    found = confusion_counts(rows.where(WRONG))
    listed = found.sort("count", "label", "predicted", descending=[True, False, False])
    listed = listed.filter(pl.col("count") > 1).head(_PAIRS)
    errors, names, several = rows.number(WRONG), own.run.classes, size * (size - 1)
    pairs = tuple(
        ConfusionPair(
            label=names[label],
            predicted=names[answer],
            n=count,
            share=rows.where(pl.col("label") == label).share(pl.col("predicted") == answer, several=several),
        )
        for label, answer, count in listed.rows()
    )
    rest = errors - int(listed["count"].sum())
    return Confusions(n=rows.n, errors=errors, kinds=len(found), pairs=pairs, rest=rest)


def guarantee(own: CountedRun, sampled: Guarantee | None) -> Guarantee | None:
    """The certificate, and what all rows of the untouched test split say of it."""
    if sampled is None:
        return None
    test, bare = own.rows("clean", ["test"]), own.unfitted
    units, given, parts = own.singles("clean", ["test"]), test.where(own.answered), own.parts("clean")
    return sampled.model_copy(
        update={
            "test_n": units.n,
            "test_answers": units.number(own.answered),
            "test_wrong": units.number(own.answered, WRONG),
            "coverage": test.share(own.answered),
            "test_risk": given.share(WRONG),
            "risk_without_guard": bare.share(WRONG),
            "parts": tuple(_of_part(row, part) for row, part in zip(sampled.parts, parts, strict=False)),
        }
    )


def _of_part(row: GuaranteePart, part: Part) -> GuaranteePart:
    return row.model_copy(update={"test_n": part.n, "test_answers": part.answers, "test_wrong": part.errors})


def policy_rows(own: CountedRun, sampled: tuple[PolicyRow, ...]) -> tuple[PolicyRow, ...]:
    """Every issued policy under every condition, over the rows that had no part in it."""
    entries = {entry["name"]: entry for entry in own.run.policy_facts}
    splits = {name: untouched(policy, entries[name]) for name, policy in own.run.policies.items()}
    return tuple(
        row if row.condition in own.run.weighted else _policy_row(own, row.policy, row.condition, splits[row.policy])
        for row in sampled
    )


def _policy_row(own: CountedRun, name: str, condition: str, splits: tuple[str, ...]) -> PolicyRow:
    rows, accepted = own.rows(condition, splits, policy_view(name)), pl.col(f"{ACCEPTED}{name}")
    numbers = {key: Quantity.of(estimate) for key, estimate in vars(_failure_table(rows, accepted)).items()}
    have = tuple(split for split in splits if split in set(rows.table["split"]))
    return PolicyRow(policy=name, condition=condition, splits=have, n=rows.n, **numbers)


def _failure_table(rows: Counted, accepted: Any) -> FailureTable:
    """As `failure_table`."""

    def share(of: Any, among: Counted = rows) -> Estimate:
        return among.estimate(of, unit=rows.unit)

    right, errors = rows.where(~WRONG), rows.where(WRONG)
    return failure_table_of(
        accuracy=share(~WRONG),
        flagged=share(~accepted),
        accuracy_unflagged=share(~WRONG, rows.where(accepted)),
        accuracy_flagged=share(~WRONG, rows.where(~accepted)),
        errors_caught=share(~accepted, errors),
        precision=share(WRONG, rows.where(~accepted)),
        fpr=share(~accepted, right),
        kept=share(accepted, right),
    )


def constant_answer(own: CountedRun) -> ConstantAnswer | None:
    """The most frequent class of the tune images as the only answer, put through the test of the certificate."""
    guard, tune, certify = own.run.guard, own.rows("clean", ["tune"]), own.singles("clean", ["certify"])
    if guard is None or not tune.n or not certify.n:
        return None
    labels = tune.table.group_by("label").agg(pl.col("count").sum()).sort("count", "label", descending=[True, False])
    answer = int(labels["label"][0])
    others, given = pl.col("label") != answer, certify.where(own.answered)
    alike: Alike | None = "answered" if _passes(guard, given, others) else None
    alike = "everywhere" if _passes(guard, certify, others) else alike
    name, unit = own.run.classes[answer], guard.certificate.unit
    return ConstantAnswer(answer=name, n=certify.n, others=certify.number(others), unit=unit, alike=alike)


def _passes(guard: CertifiedPolicy, rows: Counted, errors: Any) -> bool:
    """Whether so many errors among these rows pass the tests of a guarantee; one for every class they never do."""

    def passes(made: Certificate, own: Counted) -> bool:
        return bool(p_value(own.number(errors), own.n, made.risk) <= made.level)

    match guard:
        case ClassThreshold():
            return False
        case SiteThresholds():
            sites = guard.certificate.sites
            return all(passes(each.certificate, rows.where(pl.col(SITE) == each.site)) for each in sites)
        case _:
            return passes(guard.certificate, rows)


def positive_bound(own: CountedRun, sampled: PositiveBound | None) -> PositiveBound | None:
    """What can be said of the positive class; None where the plan names none."""
    if sampled is None:
        return None
    chosen, test = pl.col("label") == own.run.classes.index(sampled.positive), own.singles("clean", ["test"])
    rows = test.where(chosen)
    found = sampled.model_copy(update={"labels": own.singles("clean", ["certify"]).number(chosen), "n": rows.n})
    if own.run.guard is None or sampled.delta is None:
        return found
    errors, coverage = rows.number(own.answered, WRONG), test.share(own.answered)
    bound = risk_upper_bound(errors, rows.n, sampled.delta) if rows.n else 1.0
    rate, informative = rows.share(own.answered, WRONG), bool(bound < coverage.low)
    update = {"wrong_answers": errors, "bound": bound, "rate": rate, "coverage": coverage, "informative": informative}
    return found.model_copy(update=update)
