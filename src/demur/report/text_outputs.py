"""The same results outside the page: JUnit XML, Markdown, a terminal."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal
from xml.etree import ElementTree as ET

from demur.analysis.accuracy.overall import ConditionRow
from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.report.acceptance_lines import MISSING, SIGNS, declarations, gate_value_text
from demur.report.condition_lines import SIGNS as KEEPING
from demur.report.first_screen import FirstScreen
from demur.report.phrases import DASH, count, percent, spread_words
from demur.report.state_words import reportable, verdict

_CONTROL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test case; `kind` is None when it passed."""

    name: str
    kind: Literal["failure", "error", "skipped"] | None
    message: str


def junit(results: Results) -> str:
    """The whole document; characters XML cannot hold are replaced."""
    suites = (("guarantee", [_guarantee(results)]), ("gates", _gate_cases(results)), ("checks", _checks(results)))
    root = ET.Element("testsuites", name="demur")
    for name, cases in suites:
        if cases:
            root.append(_suite(name, cases, results))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _guarantee(results: Results) -> Case:
    said = verdict(results)
    kinds: dict[str, Literal["failure", "error", "skipped"] | None] = {
        "issued": None,
        "undeclared": "skipped",
        "measurement_failed": "error",
    }
    return Case(name="guarantee", kind=kinds.get(results.state, "failure"), message=f"{said.headline}. {said.note}")


def _gate_cases(results: Results) -> list[Case]:
    return [
        Case(
            name=f"{row.key} {row.rule}",
            kind={"pass": None, "fail": "failure", "inconclusive": "error"}[row.outcome],
            message=": ".join(part for part in (row.of, gate_value_text(row), row.sentence) if part),
        )
        for row in results.gates
    ]


def _checks(results: Results) -> list[Case]:
    return [
        Case(
            name=check.name,
            kind="failure" if check.state == "fail" else None,
            message=f"{check.sentence}{'' if check.count is None else f': {check.count} of {check.of}'}",
        )
        for check in results.checks
    ]


def _suite(name: str, cases: Iterable[Case], results: Results) -> ET.Element:
    kinds = [case.kind for case in cases]
    suite = ET.Element(
        "testsuite",
        name=f"demur.{name}",
        tests=str(len(kinds)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time="0",
        timestamp=results.provenance.start_time,
    )
    for case in cases:
        element = ET.SubElement(suite, "testcase", classname=f"demur.{name}", name=_legal(case.name), time="0")
        if case.kind:
            ET.SubElement(element, case.kind, message=_legal(case.message))
        else:
            ET.SubElement(element, "system-out").text = _legal(case.message)
    return suite


def _legal(text: str) -> str:
    return _CONTROL.sub("\ufffd", text)


SUMMARY_LINES = 80
_GATES = 20


def summary(results: Results, first: FirstScreen) -> str:
    """The whole document; what does not fit is counted."""
    shown = reportable(results)
    head = [*_head(first), *_purpose(results), *_gates(results, first)]
    tail = ["", f"**Next step.** {_text(first.next_step)}"]
    return "\n".join([*head, *_condition_lines(shown.conditions, SUMMARY_LINES - len(head) - len(tail)), *tail]) + "\n"


def _head(first: FirstScreen) -> Iterator[str]:
    said = first.verdict
    yield f"## {said.sign} {said.word}: {_text(first.subject)}"
    yield from ("", f"**{_text(said.answer)}** {_text(_whole_headline(first))} ({_text(said.note.rstrip('.'))}).", "")
    poor = "; ".join(family.summary for family in first.corruptions)
    points = (
        first.behaviour,
        first.load,
        first.two_thresholds,
        first.check,
        first.without,
        first.stricter,
        first.constant,
        f"Worst class: {first.worst}",
        f"Poor images: {poor}." if poor else None,
        f"Manipulation: {' '.join(filter(None, [first.mask, *first.manipulation]))}",
        f"What breaks it: {first.breaks}" if first.breaks else None,
        f"Not covered: {'; '.join(first.out_of_scope)}.",
        first.unknown,
        f"Unreadable: {first.unreadable} and were left out." if first.unreadable else None,
        f"Measurement: {first.trust.sentence}",
    )
    yield from (f"- {_text(point)}" for point in points if point)


def _purpose(results: Results) -> Iterator[str]:
    declared = declarations(results.purpose)
    yield from _table(("Purpose", ""), ((label, _text(text) if text else f"**{MISSING}**") for label, text in declared))
    if results.label_access:
        yield from ("", f"{results.label_access.sentence}.")


def _gates(results: Results, first: FirstScreen) -> Iterator[str]:
    if first.gates is None:
        return
    rows = [
        (
            _code(row.key),
            _code(row.rule),
            " ".join(SIGNS[row.outcome]),
            _text(gate_value_text(row) + (f", {row.of}" if row.of else "")),
        )
        for row in sorted(results.gates, key=lambda row: ("fail", "inconclusive", "pass").index(row.outcome))
    ]
    yield from _table(("Gate", "Rule", "Result", "Measured"), rows[:_GATES])
    yield from _rest(len(rows) - _GATES, "gates")
    if first.gates.gate_changes:
        yield from (
            "",
            f"**✖ Changed after the test was opened:** {_text('; '.join(first.gates.gate_changes[:_GATES]))}",
        )


def _condition_lines(rows: Sequence[ConditionRow], room: int) -> Iterator[str]:
    most = room - 4 if len(rows) > room - 3 else len(rows)
    cells = (
        (
            _code(row.condition),
            count(row.n),
            _number(row.accuracy),
            _number(row.coverage),
            _number(row.risk),
            f"{KEEPING[row.holds]} {row.holds}" if row.holds else DASH,
        )
        for row in rows[:most]
    )
    yield from _table(("Condition", "Images", "Accuracy", "Answered", "Share wrong", "Guarantee"), cells)
    yield from _rest(len(rows) - most, "conditions")


def _number(quantity: Quantity | None) -> str:
    if quantity is None:
        return DASH
    return f"{percent(quantity.value)} {spread_words(quantity, share=True)}".strip()


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


COLUMNS = 100
LINES = 24
_ROOM = 3
"""How many lines a paragraph may take before it is cut."""


def plain_text(first: FirstScreen) -> str:
    """At most 24 lines of at most 100 columns; sentences go on in the next line, and are cut only if they never end."""
    for room in range(_ROOM, 0, -1):
        lines = [line for text in _paragraphs(first) for line in _fit(text, room)]
        if len(lines) <= LINES:
            break
    return "\n".join(lines)


def _paragraphs(first: FirstScreen) -> Iterator[str]:
    """Each paragraph, from the decision to the next step."""
    said = first.verdict
    yield f"{said.sign} {said.word}: {first.subject}. {said.answer}"
    yield f"{_whole_headline(first)} ({said.note.removesuffix('.')})." if first.behaviour else f"{said.headline}."
    yield " ".join(filter(None, [first.behaviour, first.load, first.without] if first.behaviour else [said.note]))
    yield from filter(None, [first.two_thresholds, first.check if first.behaviour else first.without])
    yield f"Worst class: {first.worst}"
    yield _conditions(first)
    yield f"Manipulation: {first.manipulation_short}"
    if first.stricter:
        yield first.stricter
    if first.breaks:
        yield f"What breaks it: {first.breaks}"
    yield f"Not covered: {_listed(tuple(item.partition(':')[0] for item in first.out_of_scope))}"
    yield f"Void when: {_listed(first.void_when)}"
    yield f"Measurement: {f'{first.unreadable}; ' if first.unreadable else ''}{first.trust.sentence}"
    if first.counted:
        yield first.counted
    yield from _optional_tables(first)
    yield f"Next: {first.next_step}"


def _whole_headline(first: FirstScreen) -> str:
    """The headline with what it hides."""
    return ", ".join(filter(None, [first.verdict.headline, first.exception]))


def _optional_tables(first: FirstScreen) -> Iterable[str]:
    if first.constant:
        yield f"Imbalance: {first.constant}"
    if first.unknown:
        yield f"Unknown: {first.unknown}"
    if first.direction_short:
        yield f"Direction: {first.direction_short}"
    if first.worst_slice:
        yield f"Worst slice: {first.worst_slice}"
    if first.gates:
        yield f"Gates: {first.gates.sentence}"


def _conditions(first: FirstScreen) -> str:
    lead = "At the same threshold" if first.judged else "Under poor conditions"
    return f"{lead}: {'; '.join(family.summary for family in first.corruptions) or 'nothing was measured'}."


def _listed(items: tuple[str, ...]) -> str:
    return "; ".join(item.rstrip(".") for item in items) or "nothing was named"


def _fit(text: str, most: int) -> list[str]:
    lines = wrap(text, COLUMNS, subsequent_indent="  ", max_lines=most, placeholder=" …", break_long_words=True)
    return lines or [""]
