"""The first screen in Markdown, with the gates and the conditions: at most 80 lines, for the page of a CI job."""

import re
from collections.abc import Iterable, Iterator, Sequence

from demur.analysis.results import ConditionRow, Quantity, Results
from demur.report.first_screen import FirstScreen
from demur.report.gates import SIGNS, in_words
from demur.report.phrases import DASH, count, percent, spread
from demur.report.purpose import MISSING, declarations
from demur.report.verdicts import honest

LINES = 80
_GATES = 20


def summary(results: Results) -> str:
    """The whole document; what does not fit is counted."""
    first, shown = FirstScreen.of(results), honest(results)
    head = [*_head(first), *_purpose(results), *_gates(results, first)]
    tail = ["", f"**Next step.** {_text(first.next_step)}"]
    return "\n".join([*head, *_conditions(shown.conditions, LINES - len(head) - len(tail)), *tail]) + "\n"


def _head(first: FirstScreen) -> Iterator[str]:
    said = first.verdict
    yield f"## {said.sign} {said.word}: {_text(first.subject)}"
    yield from ("", f"**{_text(said.answer)}** {_text(said.headline)} ({_text(said.note.rstrip('.'))}).", "")
    poor = "; ".join(family.summary for family in first.corruptions)
    points = (
        first.behaviour,
        first.check,
        first.without,
        f"Worst class: {first.worst}",
        f"Poor images: {poor}." if poor else None,
        f"Manipulation: {' '.join(first.manipulation)}",
        f"Not covered: {'; '.join(first.not_covered)}.",
        f"Measurement: {first.trust.sentence}",
    )
    yield from (f"- {_text(point)}" for point in points if point)


def _purpose(results: Results) -> Iterator[str]:
    declared = declarations(results.purpose)
    yield from _table(("Purpose", ""), ((label, _text(text) if text else f"**{MISSING}**") for label, text in declared))
    if results.opened:
        yield from ("", f"{results.opened.sentence}.")


def _gates(results: Results, first: FirstScreen) -> Iterator[str]:
    if first.gates is None:
        return
    rows = [
        (
            _code(row.key),
            _code(row.rule),
            " ".join(SIGNS[row.outcome]),
            _text(in_words(row) + (f", {row.of}" if row.of else "")),
        )
        for row in sorted(results.gates, key=lambda row: ("fail", "inconclusive", "pass").index(row.outcome))
    ]
    yield from _table(("Gate", "Rule", "Result", "Measured"), rows[:_GATES])
    yield from _rest(len(rows) - _GATES, "gates")
    if first.gates.changed:
        yield from ("", f"**✖ Changed after the test was opened:** {_text('; '.join(first.gates.changed[:_GATES]))}")


def _conditions(rows: Sequence[ConditionRow], room: int) -> Iterator[str]:
    most = room - 4 if len(rows) > room - 3 else len(rows)
    cells = (
        (
            _code(row.condition),
            count(row.n),
            _number(row.accuracy),
            _number(row.coverage),
            _number(row.risk),
            {True: "✔ holds", False: "✖ broken", None: DASH}[row.holds],
        )
        for row in rows[:most]
    )
    yield from _table(("Condition", "Images", "Accuracy", "Answered", "Share wrong", "Promise"), cells)
    yield from _rest(len(rows) - most, "conditions")


def _number(quantity: Quantity | None) -> str:
    if quantity is None:
        return DASH
    return f"{percent(quantity.value)} {spread(quantity, share=True)}".strip()


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A blank line, two lines of heads, one line for each row."""
    yield from ("", f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}")
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _rest(left: int, what: str) -> Iterator[str]:
    if left > 0:
        yield f"| and {left} more {what} in the report |"


def _text(text: str) -> str:
    """One line in which no character of a name becomes a table, a tag or a link."""
    return re.sub(r"([|<\[\]])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """A name as it is typed; only what would end the cell or the code is replaced."""
    typed = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{typed}`"
