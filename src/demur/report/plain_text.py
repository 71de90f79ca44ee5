"""The first screen for a terminal."""

from collections.abc import Iterable
from textwrap import wrap

from demur.report.first_screen import FirstScreen

COLUMNS = 100
LINES = 13  # and one more where there are gates


def plain_text(first: FirstScreen) -> str:
    """At most 13 lines of at most 100 columns, 14 with gates; the next step takes what room is left."""
    most = LINES + (first.gates is not None)
    lines = [line for text, room in _paragraphs(first) for line in _fit(text, room)]
    return "\n".join([*lines, *_fit(f"Next: {first.next_step}", most - len(lines))])


def _paragraphs(first: FirstScreen) -> Iterable[tuple[str, int]]:
    """Each paragraph with the most lines it may take: 12 together, and one for gates."""
    verdict = first.verdict
    yield f"{verdict.sign} {verdict.word}: {first.subject}. {verdict.answer}", 1
    if first.behaviour:
        yield f"{verdict.headline} ({verdict.note}).", 2
        yield f"{first.behaviour} {first.without}", 1
        yield str(first.check), 1
    else:
        yield f"{verdict.headline}.", 2
        yield verdict.note, 1
        yield first.without, 1
    yield f"Worst class: {first.worst}", 1
    yield _conditions(first), 2
    yield f"Manipulation: {first.manipulation[-1]}", 1
    yield f"Not covered: {_listed(first.not_covered)}", 1
    yield f"Lapses: {_listed(first.lapses)}", 1
    yield f"Measurement: {first.trust.sentence}", 1
    if first.gates:
        yield f"Gates: {first.gates.sentence}", 1


def _conditions(first: FirstScreen) -> str:
    lead = "At the same threshold" if first.behaviour else "Under poor conditions"
    return f"{lead}: {'; '.join(family.summary for family in first.corruptions) or 'nothing was measured'}."


def _listed(items: tuple[str, ...]) -> str:
    return "; ".join(item.rstrip(".") for item in items) or "nothing was named"


def _fit(text: str, most: int) -> list[str]:
    lines = wrap(text, COLUMNS, subsequent_indent="  ", max_lines=most, placeholder=" …", break_long_words=True)
    return lines or [""]
