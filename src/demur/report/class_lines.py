"""The classes that fail most, by the measure by which they do, with what they are taken for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from demur.analysis.accuracy.overall import ClassRow, WorstClass, has_enough_answers, told_apart
from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.report.phrases import frequency, in_hundred, percent, plural

_SHOWN = 3
_USUAL = 50


@dataclass(frozen=True, kw_only=True)
class ClassLine:
    """One class that fails often: how many of a hundred, between what, and what its errors are taken for.

    `beyond`: its interval, which holds for all classes at once, lies above the guaranteed share.
    """

    name: str
    wrong: str
    interval: str
    taken_for: str
    beyond: bool


def class_lines(results: Results) -> tuple[ClassLine, ...]:
    """The three classes that fail most, worst first, by the measure of the worst class."""
    worst = results.worst_class
    if worst is None:
        return ()
    by_risk = worst.by == "risk"
    limit = results.guarantee.risk if results.guarantee else math.inf
    rows = [(row, _error(row, by_risk=by_risk)) for row in results.per_class]
    known = [(row, share) for row, share in rows if share is not None and not math.isnan(share.value)]
    known.sort(key=lambda each: (each[0].name != worst.row.name, -each[1].value))
    return tuple(
        ClassLine(
            name=row.name,
            wrong=in_hundred(share.value),
            interval="" if math.isnan(share.low) else f"{in_hundred(share.low)}–{in_hundred(share.high)}",
            taken_for=", ".join(answer.name for answer in row.wrong_answers[:2]),
            beyond=by_risk and share.low > limit,
        )
        for row, share in known[:_SHOWN]
        if share.value > 0 or row.name == worst.row.name
    )


def _error(row: ClassRow, *, by_risk: bool) -> Quantity | None:
    if not by_risk:
        right = row.accuracy
        return right.model_copy(update={"value": 1 - right.value, "low": 1 - right.high, "high": 1 - right.low})
    return row.risk if has_enough_answers(row.coverage, row.n) else None


def worst(found: WorstClass | None) -> str:
    """The class that looks worst, by the measure by which it does, with the interval that allows for being chosen."""
    if found is None:
        return "No class has enough images to be judged alone."
    row = found.row
    if found.by == "risk" and row.risk is not None and row.coverage is not None:
        answers = plural(round(row.coverage.value * row.n), "answer")
        return f"“{row.name}”: {percent(row.risk.value, 0)} of {answers} with the guard wrong{_between(row.risk)}."
    missed = row.accuracy.model_copy(update={"low": 1 - row.accuracy.high, "high": 1 - row.accuracy.low})
    return (
        f"“{row.name}”: {percent(1 - row.accuracy.value, 0)} of {plural(row.n, 'image')} wrong when all are "
        f"answered{_between(missed)}."
    )


def _between(found: Quantity) -> str:
    return (
        "" if math.isnan(found.low) else f", {percent(found.low, 0)} to {percent(found.high, 0)} as the worst of many"
    )


def worst_detail(found: WorstClass | None, rows: Sequence[ClassRow]) -> str | None:
    """The other measure of the class, and what so few images could show at all."""
    if found is None:
        return None
    return " ".join(said for said in (_other_measure(found), _smallest_fall(rows)) if said) or None


def _other_measure(found: WorstClass) -> str | None:
    row = found.row
    if row.coverage is None or row.risk is None:
        return None
    if found.by == "risk":
        return f"Without the guard {frequency(1 - row.accuracy.value)} of “{row.name}” are wrong."
    answers = f"With the guard it answers {frequency(row.coverage.value, 'of')} of them"
    if math.isnan(row.risk.value):
        return f"{answers}."
    return f"{answers}, and {frequency(row.risk.value)} of those answers are wrong."


def _smallest_fall(rows: Sequence[ClassRow]) -> str | None:
    """Said where classes have few images: how bad one would have to be to be seen."""
    sizes = sorted(row.n for row in rows if row.n)
    if not sizes or sizes[len(sizes) // 2] >= _USUAL:
        return None
    images, seen = plural(sizes[len(sizes) // 2], "image"), told_apart(rows)
    if seen is None:
        return f"With about {images} a class not even one that is always wrong would be seen."
    return (
        f"With about {images} a class, one is seen to be worse only if it is right less than {frequency(seen)} times."
    )
