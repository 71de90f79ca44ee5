"""Conditions, direction of error and slices, in one sentence each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby, takewhile

from demur.analysis.accuracy.error_direction import ANOTHER, Side
from demur.analysis.accuracy.overall import ConditionRow
from demur.analysis.accuracy.slices import SliceRow
from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.policies.keeping import Keeping
from demur.report.phrases import count, frequency, in_hundred, percent, pixel_words, plural
from demur.report.short_titles import heading

_PER = 1000


def direction_line(results: Results) -> str | None:
    """Misses and false alarms, per thousand; None where no class is the positive one."""
    found = results.direction
    if found is None:
        return None
    clean = found.rows[0]
    guarded = results.guarantee is not None
    lead = f"Of {count(_PER)} images of “{found.positive}”"
    return (
        f"{lead} {_side_words(clean.misses, f'called {other(found.others)}', guarded=guarded)}. "
        f"False alarms: {_side_words(clean.false_alarms, f'of {count(_PER)} others', guarded=guarded)} "
        f"(measured on {count(_size(clean.misses, guarded=guarded))} and "
        f"{plural(_size(clean.false_alarms, guarded=guarded), 'image')})."
    )


def other(name: str) -> str:
    """The other answer: a class in quotes, or that it is any of several."""
    return name if name == ANOTHER else f"“{name}”"


def direction_line_short(results: Results) -> str | None:
    """The same for a line of a terminal."""
    found = results.direction
    if found is None:
        return None
    clean, guarded = found.rows[0], results.guarantee is not None
    missed, alarmed = (_briefly(side, guarded=guarded) for side in (clean.misses, clean.false_alarms))
    return f"of {count(_PER)} “{found.positive}” {missed} missed; false alarms in {count(_PER)} others: {alarmed}."


def _bare(side: Side, *, guarded: bool) -> float:
    """The error rate without the guard, of the same images as with it."""
    return side.test_error_rate.value if guarded else side.error_rate.value


def _size(side: Side, *, guarded: bool) -> int:
    return side.test_n if guarded else side.n


def _briefly(side: Side, *, guarded: bool) -> str:
    taken = _bare(side, guarded=guarded)
    if taken != taken:
        return "—"
    bare = count(round(_PER * taken))
    if not guarded or side.guarded_error_rate is None or side.guarded_error_rate.value != side.guarded_error_rate.value:
        return bare
    return f"{bare} (guarded {count(round(_PER * side.guarded_error_rate.value))})"


def _side_words(side: Side, what: str, *, guarded: bool) -> str:
    taken = _bare(side, guarded=guarded)
    if taken != taken:
        return f"an unknown number are {what}: there are no such images"
    bare = f"{count(round(_PER * taken))} {'are ' if what.startswith('called') else ''}{what}"
    missed, abstained = side.guarded_error_rate, side.abstention_rate
    if not guarded or missed is None or abstained is None or missed.value != missed.value:
        return bare
    return (
        f"{bare}; with the guard {count(round(_PER * missed.value))}, "
        f"and {count(round(_PER * abstained.value))} go to a person"
    )


def constant_line(results: Results) -> str | None:
    """That one and the same answer would get the same guarantee; None where it would not, or none was issued."""
    found = results.constant
    if found is None or found.alike is None or results.guarantee is None:
        return None
    where = "" if found.alike == "everywhere" else " to what it answers"
    what = "guarantee over all answers" if results.positive else "guarantee"
    return f"“{found.answer}” as the only answer{where} would get the {what} too."


def unknown_line(results: Results) -> str | None:
    """How many images of none of the classes are answered, with the interval; None where the plan has none."""
    found = results.unknown
    if found is None:
        return None
    if void := results.void("unknown images"):
        return f"Not known how many images of none of the classes are answered: the set {void}."
    ends = "" if found.answered.low != found.answered.low else f", {_ends(found.answered)}"
    how = "" if found.policy else " by a model that answers everything"
    drawn = f", a sample of {count(found.drawn_from)}," if found.drawn_from else ""
    return (
        f"Of {plural(found.n, 'image')} of none of the classes{drawn} {count(found.answers)} are answered{how}{ends}."
    )


def _ends(found: Quantity) -> str:
    """An interval in hundredths, rounded outwards."""
    return f"{math.floor(100 * found.low + 1e-9)} to {math.ceil(100 * found.high - 1e-9)} in 100"


def worst_slice_line(results: Results) -> str | None:
    """The slice that fares worst, with its size."""
    row = results.worst_slice
    if row is None:
        return None
    guarded = results.guarantee is not None and row.risk is not None and row.risk.value == row.risk.value
    errors, n = (row.test_accuracy, row.test_n) if guarded else (row.accuracy, row.n)
    said = f"{slice_name(row)}: {percent(1 - errors.value, 0)} of {plural(n, 'image')} wrong when all are answered"
    return f"{said}; {frequency(row.risk.value)} with the guard." if guarded and row.risk else f"{said}."


def slice_name(row: SliceRow) -> str:
    """A slice by its column and value."""
    return f"{row.column} {row.value}"


SIGNS: Mapping[Keeping, str] = {"holds": "✔", "broken": "✖", "undecided": "?"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One severity: the sign says whether the guarantee holds there, `rate` how many of 100, `text` has the counts.

    `thumb` is a picture of one test image at this severity.
    """

    level: str
    holds: Keeping | None
    rate: str
    text: str
    sentence: str
    thumb: str | None = None

    @property
    def sign(self) -> str:
        """✔, ✖, a question mark where the labels leave it open, or a dot where nothing was guaranteed."""
        return SIGNS[self.holds] if self.holds else "·"


@dataclass(frozen=True, kw_only=True)
class Family:
    """All severities of one kind of condition, mildest first."""

    name: str
    measure: str
    cells: tuple[Cell, ...]
    guaranteed: bool = False

    @property
    def summary(self) -> str:
        """Where the guarantee stops holding, with the counts there."""
        if not self.guaranteed:
            worst = self.cells[-1]
            return f"{self.name} {worst.text} right" + (f" at {self.measure} {worst.level}" if worst.level else "")
        broken = next((at for at, cell in enumerate(self.cells) if cell.holds == "broken"), None)
        if broken is None:
            return self._unbroken()
        cell = self.cells[broken]
        kept = f"✔ to {self.cells[broken - 1].level}, " if broken and self.cells[broken - 1].holds == "holds" else ""
        if not cell.level:
            return f"{self.name} ✖ ({cell.text})"
        return f"{self.name} {kept}✖ from {cell.level} ({cell.text})"

    def _unbroken(self) -> str:
        """No severity is seen to break the guarantee, but one with few answers says nothing or leaves it open."""
        held = list(takewhile(lambda cell: cell.holds == "holds", self.cells))
        if len(held) == len(self.cells):
            return f"{self.name} ✔ at every {self.measure}" if self.cells[0].level else f"{self.name} ✔"
        first = self.cells[len(held)]
        kept = f"✔ to {held[-1].level}, " if held else ""
        if first.holds is None:
            return (
                f"{self.name} {kept}too few answers to tell{f' at {first.level}' if first.level else ''} ({first.text})"
            )
        return f"{self.name} {kept}? undecided{f' from {first.level}' if first.level else ''} ({first.text})"


def families(results: Results, kind: str, *, guaranteed: bool) -> tuple[Family, ...]:
    """The families of one kind in their first-seen order; without a guarantee the cells show accuracy."""
    chosen = [row for row in results.conditions if row.kind == kind]
    order = {name: at for at, name in reversed(list(enumerate(row.family for row in chosen)))}
    chosen.sort(key=lambda row: (order[row.family], row.severity))
    return tuple(
        Family(
            name=heading(rows[0].condition, name, results),
            measure="change" if kind == "attack" else "severity",
            cells=tuple(_cell(row, results.severity_thumbs.get(row.condition), guaranteed=guaranteed) for row in rows),
            guaranteed=guaranteed,
        )
        for name, rows in ((name, [*group]) for name, group in groupby(chosen, key=lambda row: row.family))
    )


def _cell(row: ConditionRow, thumb: str | None, *, guaranteed: bool) -> Cell:
    level = "" if not row.severity else pixel_words(row.severity) if row.kind == "attack" else f"{row.severity:g}"
    if not guaranteed or row.answers is None or row.wrong_answers is None:
        right = percent(row.accuracy.value, 0)
        sentence = f"{row.sentence}: {right} of {count(row.n)} right"
        return Cell(level=level, holds=None, rate=right, text=right, sentence=sentence, thumb=thumb)
    wrong, answers = count(row.wrong_answers), count(row.answers)
    return Cell(
        level=level,
        holds=row.holds,
        rate=in_hundred(row.wrong_answers / row.answers) if row.answers else "none",
        text=f"{wrong}/{answers}",
        sentence=f"{row.sentence}: {wrong} wrong of {answers} answered",
        thumb=thumb,
    )
