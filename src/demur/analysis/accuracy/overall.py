"""Accuracy: overall, per condition at the frozen threshold, per class, and by corruption and severity."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import betaincinv

from demur.analysis.accuracy.confusions import Answer, wrong_answers
from demur.analysis.guard_parts import guard_parts
from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.robustness.attack_tables import is_fooled, is_sized
from demur.analysis.row_design import alike, counted_by
from demur.analysis.run_folder import Flags, Run, independent_rows, share
from demur.metrics.binomial import clopper_pearson, proportion
from demur.metrics.corruption_error import ALEXNET, mean_corruption_error, relative_corruption_error
from demur.policies import CertifiedPolicy, ClassThreshold
from demur.policies.keeping import FEWEST_ANSWERS, Keeping, judged
from demur.records import groups, wrong


class CorruptionRow(Table):
    """Accuracy under one corruption at severities 1 to 5, null where one was not run, and a picture of it."""

    family: str
    accuracy: tuple[Quantity | None, ...]
    thumb: str | None


class CorruptionMap(Table):
    """Families of corruption by severity. `mean` is the accuracy over all that ran, each counted once.

    The corruption errors are in hundredths of AlexNet's on ImageNet, and null for other images than of its 1,000
    classes or where not all 15 common corruptions ran at all severities.
    """

    rows: tuple[CorruptionRow, ...]
    mean: float
    original: str | None
    mean_corruption_error: Number | None
    relative_corruption_error: Number | None


Measure: TypeAlias = Literal["accuracy", "coverage", "risk"]


class ClassRow(Table):
    """One class: all of its clean test rows, and those the guard lets through.

    Intervals hold for all classes at once, so that the class which looks worst is judged by its own; `alone` has the
    95 % intervals of this class by itself, which a claim that every class passes may rest on. `wrong_answers` are the
    most frequent ones among the images the guard lets through, or among all where there is none.
    """

    name: str
    n: int
    accuracy: Quantity
    coverage: Quantity | None
    risk: Quantity | None
    alone: dict[Measure, Quantity]
    wrong_answers: tuple[Answer, ...] = ()


class WorstClass(Table):
    """The class that looks worst, and the measure by which it does."""

    row: ClassRow
    by: Measure


class ConditionRow(Table):
    """One condition at the frozen threshold. `holds`: whether the guaranteed risk is kept (null without one)."""

    condition: str
    family: str
    kind: Literal["clean", "attack", "corruption"]
    sentence: str
    severity: float
    n: int
    accuracy: Quantity
    answers: int | None
    wrong_answers: int | None
    coverage: Quantity | None
    risk: Quantity | None
    holds: Keeping | None
    forwards: int
    backwards: int


def accuracy(rows: pl.DataFrame) -> Quantity:
    """The share of right answers."""
    return share(~wrong(rows), rows)


def condition_rows(run: Run) -> tuple[ConditionRow, ...]:
    """Every condition: accuracy over all of its rows, and what the guard answers of its test rows."""
    return tuple(_condition(run, entry) for entry in run.conditions())


def _condition(run: Run, entry: Mapping[str, Any]) -> ConditionRow:
    rows = run.drawn(entry["name"])
    return ConditionRow(
        condition=entry["name"],
        family=entry["family"],
        kind=entry["kind"],
        sentence=entry["sentence"] + _sampling(entry, len(rows)),
        severity=entry["severity"],
        n=len(rows),
        accuracy=share(~is_fooled(rows, entry), rows),
        forwards=int(rows["forwards"].sum()),
        backwards=int(rows["backwards"].sum()),
        **_at_threshold(run, entry),
    )


def _sampling(entry: Mapping[str, Any], rows: int) -> str:
    """How many images of rare strata are among those of a condition, where its shares are weighted for that."""
    design = entry.get("design")
    if design is None:
        return ""
    more = max(0, rows - design["alike"])
    return (
        f" ({more:,} of {rows:,} images are more of rare {design['strata']}s; shares are of all of them, weighted; "
        "wrong answers are counted among those drawn alike)"
    )


def _at_threshold(run: Run, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the guard makes of a condition; undefined where the points kept are not all of the size it is judged at."""
    if run.guard is None or is_sized(entry):
        return dict.fromkeys(("answers", "wrong_answers", "coverage", "risk", "holds"))
    return _guarded(run, run.guard, run.drawn(entry["name"], "test"), sized=entry.get("keep") != "nearest")


def _guarded(run: Run, guard: CertifiedPolicy, test: pl.DataFrame, *, sized: bool) -> dict[str, Any]:
    """What the guard makes of test rows: counts by the unit of the guarantee, shares of all rows.

    What is counted are rows that were drawn alike, as those are that the guarantee was made on; for a guarantee of each
    class all rows of a class that stand for equally many. `holds` compares the
    intervals of the shares that the guarantee is about with what was guaranteed. It is null below 20 answers, and where
    an attack searches for the nearest point, for there no size of change was fixed.
    """
    answered = run.accepts(guard, test)
    accepted, counted = test.filter(answered), alike(test)
    by_part = counted_by(test, "label") if isinstance(guard, ClassThreshold) else counted
    units = independent_rows(counted)
    given = units.filter(run.accepts(guard, units))
    return {
        "answers": len(given),
        "wrong_answers": int(wrong(given).sum()),
        "coverage": share(answered, test),
        "risk": share(wrong(accepted), accepted),
        "holds": judged(guard_parts(run, guard, by_part)) if sized else None,
    }


def class_rows(run: Run) -> tuple[ClassRow, ...]:
    """Every class over clean test rows, by true label; without any, over all rows and without the guard."""
    test = run.unfitted_rows()
    guarded = run.guard is not None and run.has_test_rows
    labels, answers = test["label"].to_numpy(), test["predicted"].to_numpy()
    answered = run.accepts(run.guard, test) if run.guard is not None and guarded else np.ones(len(test), bool)
    order, units = np.argsort(labels, kind="stable"), groups(test)
    ends, several = np.searchsorted(labels[order], np.arange(len(run.classes) + 1)), len(np.unique(labels))
    found = []
    for k, name in enumerate(run.classes):
        own = order[ends[k] : ends[k + 1]]
        given = own[answered[own]]
        parts: dict[Measure, tuple[Flags, NDArray[np.intp]]] = {"accuracy": (answers[own] == k, own)}
        if guarded:
            parts |= {"coverage": (answered[own], own), "risk": (answers[given] != k, given)}
        shares = {part: (flags, None if units is None else units[rows]) for part, (flags, rows) in parts.items()}
        found.append(_class(name, len(own), shares, several, wrong_answers(run, answers[given][answers[given] != k])))
    return tuple(found)


def _class(
    name: str, n: int, shares: Mapping[Measure, tuple[Flags, Any]], several: int, answers: tuple[Answer, ...]
) -> ClassRow:
    found = {measure: Quantity.of(proportion(*of, several)) for measure, of in shares.items()}
    return ClassRow(
        name=name,
        n=n,
        accuracy=found["accuracy"],
        coverage=found.get("coverage"),
        risk=found.get("risk"),
        alone={measure: Quantity.of(proportion(*of, 1)) for measure, of in shares.items()},
        wrong_answers=answers,
    )


def worst_class(rows: tuple[ClassRow, ...]) -> WorstClass | None:
    """The class with the most wrong among its answered images, else the least accurate one, and which of the two it is.

    Classes of fewer than 20 images are left out if there are others; if there are none, it is the one that is the most
    surely bad. If the guard answers fewer than 20 images of any class, all are ranked by accuracy: a class it abstains
    on almost wholly would escape a ranking of answers.
    """
    large = [row for row in rows if row.n >= FEWEST_ANSWERS]
    if not large:
        return next((WorstClass(row=row, by="accuracy") for row in worst_first(rows, "accuracy")), None)
    if all(row.risk and has_enough_answers(row.coverage, row.n) for row in large):
        return WorstClass(row=max(large, key=lambda row: row.risk.value if row.risk else 0.0), by="risk")
    return WorstClass(row=min(large, key=lambda row: row.accuracy.value), by="accuracy")


def worst_first(rows: Sequence[ClassRow], by: Measure) -> tuple[ClassRow, ...]:
    """The classes that have images, those first that are the most surely bad, by the better end of their intervals."""

    def goodness(row: ClassRow) -> tuple[float, float]:
        found = row.accuracy if by == "accuracy" or row.risk is None else row.risk
        ends = (found.high, found.value) if by == "accuracy" else (-found.low, -found.value)
        return (math.inf, math.inf) if math.isnan(found.value) else ends

    return tuple(sorted((row for row in rows if row.n), key=goodness))


def told_apart(rows: Sequence[ClassRow], level: float = 0.05, power: float = 0.8) -> float | None:
    """The share right below which a typical class would be seen, four times in five, to fall short of the average.

    By the interval that holds for all classes at once; None where even a class that is always wrong would not be.
    """
    sizes = sorted(row.n for row in rows if row.n)
    if not sizes:
        return None
    n, tail = sizes[len(sizes) // 2], level / 2
    average = sum(row.accuracy.value * row.n for row in rows if row.n) / sum(sizes)
    highs = [clopper_pearson(right, n, len(sizes), 1 - 2 * tail).high for right in range(n + 1)]
    most = sum(high < average for high in highs) - 1  # the largest count right that is seen to fall short
    return None if most < 0 else float(betaincinv(most + 1, max(n - most, 1e-9), 1 - power))


def has_enough_answers(coverage: Quantity | None, n: int) -> bool:
    """Whether at least 20 of `n` images are answered."""
    return coverage is not None and coverage.value * n >= FEWEST_ANSWERS - 1e-9


SEVERITIES = (1, 2, 3, 4, 5)
FEWEST = 4
"""Families below which the chart of accuracy against severity says the same."""
_IMAGENET = 1000


def corruption_map(run: Run, known: Mapping[str, Quantity] | None = None) -> CorruptionMap | None:
    """The map; None where fewer than four families of corruption ran at a severity.

    Args:
        run: the run.
        known: the accuracy under each condition, where it was worked out already.
    """
    cells: dict[str, dict[int, Quantity]] = {}
    for entry in run.conditions("corruption"):
        if entry["severity"] in SEVERITIES:
            own = known[entry["name"]] if known else accuracy(run.drawn(entry["name"]))
            cells.setdefault(entry["family"], {})[int(entry["severity"])] = own
    if len(cells) < FEWEST:
        return None
    original, pictures = _pictures(run)
    errors = _errors(run, cells)
    return CorruptionMap(
        rows=tuple(
            CorruptionRow(
                family=family,
                accuracy=tuple(found.get(severity) for severity in SEVERITIES),
                thumb=pictures.get(family),
            )
            for family, found in cells.items()
        ),
        mean=float(np.mean([cell.value for found in cells.values() for cell in found.values()])),
        original=original,
        mean_corruption_error=mean_corruption_error(errors) if errors else None,
        relative_corruption_error=(relative_corruption_error(errors, _clean_error(run, known)) if errors else None),
    )


def _clean_error(run: Run, known: Mapping[str, Quantity] | None) -> float:
    return 1 - known["clean"].value if known else float(wrong(run.rows("clean")).mean())


def _errors(run: Run, cells: Mapping[str, Mapping[int, Quantity]]) -> dict[str, list[float]]:
    """Errors of the 15 common corruptions; nothing where one is missing or the classes cannot be ImageNet's."""
    complete = all(len(cells.get(family, {})) == len(SEVERITIES) for family in ALEXNET)
    if not complete or len(run.classes) != _IMAGENET:
        return {}
    return {family: [1 - cells[family][severity].value for severity in SEVERITIES] for family in ALEXNET}


def _pictures(run: Run) -> tuple[str | None, dict[str, str]]:
    """The one image kept, as it is and under each family."""
    facts = run.optional_facts("corruptions")
    if facts is None:
        return None, {}
    found = {family: run.thumb(name) for family, name in facts["thumbs"].items()}
    return run.thumb(facts["original"]), {family: thumb for family, thumb in found.items() if thumb}
