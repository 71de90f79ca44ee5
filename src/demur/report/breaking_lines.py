"""What breaks it, in words: one line for the first screen, one row each for the list below it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.verdict.breaking_points import Breaking, Subject, WhatBreaks
from demur.report.phrases import at_most, in_hundred
from demur.report.short_titles import heading, level

_SHOWN = 3
_PLACES: Mapping[Subject, str] = {
    "attack": "attacks",
    "corruption": "conditions",
    "class": "classes",
    "slice": "slices",
    "site": "guarantees",
    "unknown": "unknown",
}
_NAMES: Mapping[Subject, str] = {
    "attack": "attack",
    "corruption": "poor images",
    "class": "class",
    "slice": "slice",
    "site": "site",
    "unknown": "unknown images",
}


@dataclass(frozen=True, kw_only=True)
class BreakingLine:
    """One row of the list: what it is, the smallest size that does it, what happens there and where it is worst."""

    name: str
    kind: str
    anchor: str
    size: str
    smallest: bool
    measured: Quantity
    rate: str
    happens: str
    sentence: str
    worst: str


def breaking_lines(results: Results) -> Iterator[BreakingLine]:
    """The list, worst first."""
    found = results.breaks
    if found is None:
        return
    for row in found.rows:
        size = level(row.condition, results) if row.condition else ""
        yield BreakingLine(
            name=_name(row, results),
            kind=_NAMES[row.subject],
            anchor=_PLACES[row.subject],
            size=size,
            smallest=bool(size) and not row.smaller,
            measured=row.measured,
            rate="" if row.subject == "unknown" else in_hundred(row.measured.value),
            happens=_happens(row, found),
            sentence=next((each.sentence for each in results.conditions if each.condition == row.condition), ""),
            worst=_worst(row, results),
        )


def breaking_sentence(results: Results) -> str | None:
    """The worst three in one line; None where nothing was tried but clean images."""
    found = results.breaks
    if found is None or not found.tried:
        return None
    lines = [*breaking_lines(results)]
    if not lines:
        what = "break it" if found.rule == "guarantee" else "cost it half of its right answers"
        return f"Nothing that was tried is seen to {what} ({found.tried} tried)."
    said = [_short(line) for line in lines[:_SHOWN]]
    unit = "answers" if found.rule == "guarantee" else "images"
    said[0] += f" of 100 {unit} wrong" if lines[0].rate else ""
    return f"{'; '.join(said)}{f'; and {len(lines) - _SHOWN} more' if len(lines) > _SHOWN else ''}."


def breaking_rule(results: Results) -> str:
    """What counts as breaking, and the order, in words."""
    found = results.breaks
    if found is None:
        return ""
    if found.rule == "guarantee":
        what = (
            f"more than the guaranteed {at_most(found.limit)} answers are wrong, with the whole 95 % interval above it"
        )
    else:
        what = "fewer than half as many answers are right as of the clean images, with the whole 95 % interval below it"
    return (
        f"A thing breaks it where {what} (of classes and slices: with an interval that allows for their number). Worst "
        "first, by the share wrong where it is worst; a family of attacks or poor images names the smallest size that "
        f"breaks it. {found.tried} things were tried."
    )


def _name(row: Breaking, results: Results) -> str:
    if row.subject == "unknown":
        return "Images of none of the classes"
    if row.condition is not None:
        return heading(row.condition, row.name, results)
    return f"“{row.name}”" if row.subject == "class" else row.name


def _short(line: BreakingLine) -> str:
    """Name, smallest size, and how many of a hundred are wrong there; the first of a list says of what."""
    return f"{line.name}{' from ' if line.size else ''}{line.size}: {line.rate or line.happens}"


def _happens(row: Breaking, found: WhatBreaks) -> str:
    share = in_hundred(row.measured.value)
    if row.subject == "unknown":
        return f"{share} of 100 are answered, every answer wrong"
    return f"{share} of 100 {'answers' if found.rule == 'guarantee' else 'images'} wrong"


def _worst(row: Breaking, results: Results) -> str:
    """What happens at its worst size, where that is another."""
    if row.worst_condition is None or row.worst_condition == row.condition:
        return ""
    return f"{in_hundred(row.worst.value)} of 100 at {level(row.worst_condition, results)}"
