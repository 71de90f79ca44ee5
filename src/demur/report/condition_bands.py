"""Families of conditions for the table of conditions: one row each, with a small curve, that opens to its own rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from demur.analysis.accuracy.overall import ConditionRow
from demur.analysis.results import Results
from demur.report.phrases import percent, plural
from demur.report.short_titles import heading, level

_WIDTH, _HEIGHT, _EDGE = 120.0, 30.0, 4.0


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One condition on a small curve, in the coordinates of its picture; `state` is a class of the style sheet."""

    x: float
    y: float
    state: str


@dataclass(frozen=True, kw_only=True)
class Band:
    """One family: its name, accuracy against size from the clean images on, where it breaks, and its conditions."""

    name: str
    kind: str
    dots: tuple[Dot, ...]
    accuracy: str
    outcome: str
    state: str
    rows: tuple[ConditionRow, ...]

    @property
    def line(self) -> str:
        """The points of the curve."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.dots)


def bands(results: Results) -> Iterator[Band]:
    """The clean images, then every family in the order of the plan."""
    order = {row.family: at for at, row in reversed([*enumerate(results.conditions)])}
    rows = sorted(results.conditions, key=lambda row: (order[row.family], row.severity))
    clean = next((row for row in rows if row.kind == "clean"), None)
    for family, group in groupby(rows, lambda row: row.family):
        own = tuple(group)
        yield Band(
            name=heading(own[0].condition, family, results),
            kind=own[0].kind,
            dots=_dots(clean, own),
            accuracy=_accuracy(own),
            outcome=_outcome(own, results),
            state=_state(own),
            rows=own,
        )


def _dots(clean: ConditionRow | None, rows: tuple[ConditionRow, ...]) -> tuple[Dot, ...]:
    """Accuracy from none (bottom) to all (top) against size; at each size the lowest; nothing for a single point."""
    lowest: dict[float, ConditionRow] = {} if clean is None or rows[0].kind == "clean" else {0.0: clean}
    for row in rows:
        held = lowest.get(row.severity)
        lowest[row.severity] = row if held is None or row.accuracy.value < held.accuracy.value else held
    largest = max(lowest, default=0.0)
    if largest <= 0 or len(lowest) < 2:
        return ()
    return tuple(
        Dot(
            x=_EDGE + (_WIDTH - 2 * _EDGE) * size / largest,
            y=_HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * row.accuracy.value,
            state=row.holds or "open",
        )
        for size, row in sorted(lowest.items())
        if row.accuracy.value == row.accuracy.value
    )


def _accuracy(rows: tuple[ConditionRow, ...]) -> str:
    values = [percent(row.accuracy.value) for row in rows]
    return values[0] if len(set(values)) == 1 else f"{values[0]} to {values[-1]}"


def _outcome(rows: tuple[ConditionRow, ...], results: Results) -> str:
    """Where the guarantee breaks, or that it does not, or how many rows there are where none is judged."""
    judged = [row for row in rows if row.holds is not None]
    if not judged:
        return plural(len(rows), "row") if len(rows) > 1 else ""
    broken = next((row for row in judged if row.holds == "broken"), None)
    if broken is not None:
        size = level(broken.condition, results)
        return f"✖ breaks{f' from {size}' if size else ''}"
    if all(row.holds == "holds" for row in judged):
        return "✔ holds"
    return "? undecided"


def _state(rows: tuple[ConditionRow, ...]) -> str:
    states = {row.holds for row in rows}
    if "broken" in states:
        return "broken"
    return "none" if states == {None} else "warned" if "undecided" in states else "holds"
