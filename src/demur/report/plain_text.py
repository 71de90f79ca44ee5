"""The first screen for a terminal."""

from collections.abc import Iterable
from textwrap import wrap

from demur.report.first_screen import FirstScreen

COLUMNS = 100
LINES = 14


def plain_text(first: FirstScreen) -> str:
    """At most 14 lines of at most 100 columns; the next step takes what room is left."""
    lines = [line for text, room in _paragraphs(first) for line in _fit(text, room)]
    return "\n".join([*lines, *_fit(f"Next: {first.next_step}", LINES - len(lines))])


def _paragraphs(first: FirstScreen) -> Iterable[tuple[str, int]]:
    """Each paragraph with the most lines it may take: 13 together.

    What only some audits have takes its line from what is not covered, then from the conditions, then from the lapses.
    """
    verdict, particular = first.verdict, list(_particular(first))
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
    yield _conditions(first), 2 if len(particular) < 2 else 1
    yield f"Manipulation: {first.manipulation_short}", 1
    yield (
        f"Not covered: {_listed(tuple(item.partition(':')[0] for item in first.not_covered))}",
        1 if particular else 2,
    )
    if len(particular) < 3:
        yield f"Lapses: {_listed(first.lapses)}", 1
    yield f"Measurement: {first.trust.sentence}", 1
    yield from ((text, 1) for text in particular)


def _particular(first: FirstScreen) -> Iterable[str]:
    if first.direction_short:
        yield f"Direction: {first.direction_short}"
    if first.worst_slice:
        yield f"Worst slice: {first.worst_slice}"
    if first.gates:
        yield f"Gates: {first.gates.sentence}"


def _conditions(first: FirstScreen) -> str:
    lead = "At the same threshold" if first.behaviour else "Under poor conditions"
    return f"{lead}: {'; '.join(family.summary for family in first.corruptions) or 'nothing was measured'}."


def _listed(items: tuple[str, ...]) -> str:
    return "; ".join(item.rstrip(".") for item in items) or "nothing was named"


def _fit(text: str, most: int) -> list[str]:
    lines = wrap(text, COLUMNS, subsequent_indent="  ", max_lines=most, placeholder=" …", break_long_words=True)
    return lines or [""]
