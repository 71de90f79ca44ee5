"""The conditions of one family, such as all severities of one corruption, on one line."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from demur.analysis.results import ConditionRow
from demur.report.phrases import count, percent, pixels, readable


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One severity: the sign says whether the promise holds there, the text has the counts."""

    level: str
    holds: bool | None
    text: str
    sentence: str

    @property
    def sign(self) -> str:
        """✔, ✖, or a dot where nothing was promised."""
        return {True: "✔", False: "✖", None: "·"}[self.holds]


@dataclass(frozen=True, kw_only=True)
class Family:
    """All severities of one kind of condition, mildest first."""

    name: str
    measure: str
    cells: tuple[Cell, ...]
    promised: bool = False

    @property
    def summary(self) -> str:
        """Where the promise stops holding, with the counts there."""
        if not self.promised:
            worst = self.cells[-1]
            return f"{self.name} {worst.text} right" + (f" at {self.measure} {worst.level}" if worst.level else "")
        broken = next((at for at, cell in enumerate(self.cells) if cell.holds is False), None)
        if broken is None:
            return self._unbroken()
        cell = self.cells[broken]
        kept = f"✔ to {self.cells[broken - 1].level}, " if broken and self.cells[broken - 1].holds else ""
        if not cell.level:
            return f"{self.name} ✖ ({cell.text})"
        return f"{self.name} {kept}✖ from {cell.level} ({cell.text})"

    def _unbroken(self) -> str:
        """No severity is seen to break the promise, but one with few answers says nothing."""
        held = [cell for cell in self.cells if cell.holds]
        if len(held) == len(self.cells):
            return f"{self.name} ✔ at every {self.measure}" if self.cells[0].level else f"{self.name} ✔"
        few = next(cell for cell in self.cells if cell.holds is None)
        kept = f"✔ to {held[-1].level}, " if held else ""
        return f"{self.name} {kept}too few answers to tell{f' at {few.level}' if few.level else ''} ({few.text})"


def families(rows: Iterable[ConditionRow], kind: str, *, promised: bool) -> tuple[Family, ...]:
    """The families of one kind in their first-seen order; without a promise the cells show accuracy."""
    chosen = [row for row in rows if row.kind == kind]
    order = {name: at for at, name in reversed(list(enumerate(row.family for row in chosen)))}
    chosen.sort(key=lambda row: (order[row.family], row.severity))
    return tuple(
        Family(
            name=readable(name),
            measure="change" if kind == "attack" else "severity",
            cells=tuple(_cell(row, promised=promised) for row in group),
            promised=promised,
        )
        for name, group in groupby(chosen, key=lambda row: row.family)
    )


def _cell(row: ConditionRow, *, promised: bool) -> Cell:
    level = "" if not row.severity else pixels(row.severity) if row.kind == "attack" else f"{row.severity:g}"
    if not promised or row.answered is None or row.answered_wrong is None:
        right = percent(row.accuracy.value, 0)
        return Cell(level=level, holds=None, text=right, sentence=f"{row.sentence}: {right} of {count(row.n)} right")
    sentence = f"{row.sentence}: {count(row.answered_wrong)} wrong of {count(row.answered)} answered"
    return Cell(
        level=level, holds=row.holds, text=f"{count(row.answered_wrong)}/{count(row.answered)}", sentence=sentence
    )
