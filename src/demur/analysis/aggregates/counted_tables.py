"""Tables that counts of all rows tell exactly: accuracy, classes, confusions, the guarantee, policies."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.accuracy.confusions import MANY, Answer, ConfusionPair, Confusions
from demur.analysis.accuracy.overall import ClassRow, ConditionRow, Measure
from demur.analysis.aggregates.shard_counts import ACCEPTED, SITE, ShardCounts
from demur.analysis.quantity import Quantity
from demur.analysis.robustness.attack_tables import is_sized
from demur.analysis.run_folder import Run
from demur.analysis.signals.decision_tables import PolicyRow, untouched
from demur.analysis.verdict.guarantees import GuaranteePart
from demur.analysis.verdict.imbalance import Alike, ConstantAnswer, PositiveBound
from demur.analysis.verdict.verdict import Guarantee
from demur.metrics import p_value, risk_upper_bound
from demur.metrics.binomial import clopper_pearson, wilson
from demur.metrics.failure_table import failure_table_of
from demur.policies import Certificate, CertifiedPolicy, ClassThreshold, SiteThresholds
from demur.policies.keeping import Part, judged

_PAIRS, _ANSWERS = 40, 3
_WRONG = pl.col("predicted") != pl.col("label")


@dataclass(frozen=True)
class Counted:
    """Lines of counts, of some conditions or classes."""

    table: pl.DataFrame

    def where(self, *chosen: Any) -> "Counted":
        """The lines of which all this is true."""
        return Counted(self.table.filter(*chosen))

    @property
    def n(self) -> int:
        """How many rows they are of."""
        return int(self.table["count"].sum())

    def number(self, *chosen: Any) -> int:
        """How many of the rows are so."""
        return self.where(*chosen).n

    def share(self, *chosen: Any) -> Quantity:
        """The share of the rows that are so."""
        return Quantity.of(wilson(self.number(*chosen), self.n))


@dataclass(frozen=True)
class CountedRun:
    """A run beside the counts of all of its rows."""

    run: Run
    counts: ShardCounts

    def rows(self, condition: str, splits: Collection[str] | None = None) -> Counted:
        """The counts of a condition, of some splits if asked."""
        own = self.counts.rows.filter(pl.col("condition") == condition)
        return Counted(own if splits is None else own.filter(pl.col("split").is_in(list(splits))))

    @property
    def unfitted(self) -> Counted:
        """Clean rows for numbers that no label was fitted for."""
        if self.run.has_test_rows:
            return self.rows("clean", ["test"])
        return self.rows("clean").where(pl.col("split") != "fit")

    @property
    def answered(self) -> Any:
        """Whether the guard answers; true of all rows where there is no guard."""
        return pl.lit(value=True) if self.run.guard is None else pl.col(f"{ACCEPTED}{self.run.chosen_policy}")

    def parts(self, rows: Counted) -> tuple[Part, ...]:
        """The shares that the guarantee is about, on these rows."""
        guard = self.run.guard
        if guard is None:
            return ()
        match guard:
            case ClassThreshold():
                return tuple(
                    self._part(each.name, each.risk, rows.where(pl.col("label") == k), among_all=True)
                    for k, each in enumerate(guard.certificate.classes)
                )
            case SiteThresholds():
                return tuple(
                    self._part(each.site, guard.certificate.risk, rows.where(pl.col(SITE) == each.site))
                    for each in guard.certificate.sites
                )
            case _:
                return (self._part(None, guard.certificate.risk, rows),)

    def _part(self, name: str | None, risk: float, rows: Counted, *, among_all: bool = False) -> Part:
        answers, errors = rows.number(self.answered), rows.number(self.answered, _WRONG)
        return Part(name=name, risk=risk, n=rows.n, answers=answers, errors=errors, of=rows.n if among_all else answers)


def accuracy(rows: Counted) -> Quantity:
    """The share of right answers."""
    return rows.share(~_WRONG)


def condition_rows(own: CountedRun, sampled: tuple[ConditionRow, ...]) -> tuple[ConditionRow, ...]:
    """Every condition, over all of its rows; of one with design weights these are in the sample."""
    entries = {entry["name"]: entry for entry in own.run.conditions()}
    return tuple(
        row if row.condition in own.run.weighted else row.model_copy(update=_condition(own, entries[row.condition]))
        for row in sampled
    )


def _condition(own: CountedRun, entry: Mapping[str, Any]) -> dict[str, Any]:
    rows = own.rows(entry["name"])
    spent = own.counts.effort.filter(pl.col("condition") == entry["name"])
    found = {
        "n": rows.n,
        "accuracy": rows.share(~pl.col("fooled")),
        "forwards": int(spent["kept_forwards"].sum()),
        "backwards": int(spent["kept_backwards"].sum()),
    }
    if own.run.guard is None or is_sized(entry):
        return found
    test = own.rows(entry["name"], ["test"])
    given = test.where(own.answered)
    return found | {
        "answers": given.n,
        "wrong_answers": given.number(_WRONG),
        "coverage": test.share(own.answered),
        "risk": given.share(_WRONG),
        "holds": judged(own.parts(test)) if entry.get("keep") != "nearest" else None,
    }


def class_rows(own: CountedRun) -> tuple[ClassRow, ...]:
    """Every class over clean test rows, by true label; without any, over all rows and without the guard."""
    test, guarded = own.unfitted, own.run.guard is not None and own.run.has_test_rows
    several = test.table["label"].n_unique()
    found = []
    for k, name in enumerate(own.run.classes):
        rows = test.where(pl.col("label") == k)
        given = rows.where(own.answered) if guarded else rows
        counts: dict[Measure, tuple[int, int]] = {"accuracy": (rows.number(~_WRONG), rows.n)}
        if guarded:
            counts |= {"coverage": (given.n, rows.n), "risk": (given.number(_WRONG), given.n)}
        shares = {part: Quantity.of(clopper_pearson(*of, several)) for part, of in counts.items()}
        found.append(
            ClassRow(
                name=name,
                n=rows.n,
                accuracy=shares["accuracy"],
                coverage=shares.get("coverage"),
                risk=shares.get("risk"),
                alone={part: Quantity.of(clopper_pearson(*of, 1)) for part, of in counts.items()},
                wrong_answers=_wrong_answers(own.run, given.where(_WRONG)),
            )
        )
    return tuple(found)


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
    rows, size = own.rows("clean"), len(own.run.classes)
    found = confusion_counts(rows.where(_WRONG))
    listed = found.sort("count", "label", "predicted", descending=[True, False, False])
    listed = listed.filter(pl.col("count") > 1).head(_PAIRS)
    of = dict(rows.table.group_by("label").agg(pl.col("count").sum()).rows())
    errors, names, several = rows.number(_WRONG), own.run.classes, size * (size - 1)
    pairs = tuple(
        ConfusionPair(
            label=names[label],
            predicted=names[answer],
            n=count,
            share=Quantity.of(clopper_pearson(count, of[label], several)),
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
    given, parts = test.where(own.answered), own.parts(test)
    return sampled.model_copy(
        update={
            "test_n": test.n,
            "test_answers": given.n,
            "test_wrong": given.number(_WRONG),
            "coverage": test.share(own.answered),
            "test_risk": given.share(_WRONG),
            "risk_without_guard": bare.share(_WRONG),
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
    rows, accepted = own.rows(condition, splits), pl.col(f"{ACCEPTED}{name}")
    answered, flagged = (
        (part.number(~_WRONG), part.number(_WRONG)) for part in (rows.where(accepted), rows.where(~accepted))
    )
    numbers = {key: Quantity.of(estimate) for key, estimate in vars(failure_table_of(answered, flagged)).items()}
    have = tuple(split for split in splits if split in set(rows.table["split"]))
    return PolicyRow(policy=name, condition=condition, splits=have, n=rows.n, **numbers)


def constant_answer(own: CountedRun) -> ConstantAnswer | None:
    """The most frequent class of the tune images as the only answer, put through the test of the certificate."""
    guard, tune, certify = own.run.guard, own.rows("clean", ["tune"]), own.rows("clean", ["certify"])
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
    chosen, test = pl.col("label") == own.run.classes.index(sampled.positive), own.rows("clean", ["test"])
    rows = test.where(chosen)
    found = sampled.model_copy(update={"labels": own.rows("clean", ["certify"]).number(chosen), "n": rows.n})
    if own.run.guard is None or sampled.delta is None:
        return found
    errors, coverage = rows.number(own.answered, _WRONG), test.share(own.answered)
    bound = risk_upper_bound(errors, rows.n, sampled.delta) if rows.n else 1.0
    rate, informative = rows.share(own.answered, _WRONG), bool(bound < coverage.low)
    update = {"wrong_answers": errors, "bound": bound, "rate": rate, "coverage": coverage, "informative": informative}
    return found.model_copy(update=update)
