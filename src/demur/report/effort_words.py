"""What an audit was expected to take beside what it took, in words."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from demur.analysis.effort_table import Effort
from demur.report.phrases import DASH, count, duration, plural

_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "clean": "Images as they are",
        "attack": "Attacks",
        "corruption": "Corruptions",
        "unknown": "Images of none of the classes",
        "epsilon": "Searches",
        "map": "Maps",
        "intervention": "Occlusions",
    }
)


class EffortLine(NamedTuple):
    """One line of the table: a name, its rows, and pairs of what was planned and what was spent."""

    name: str
    rows: str
    pairs: tuple[tuple[str, str], ...]


def effort_lines(found: Effort) -> Iterator[EffortLine]:
    """Each kind of condition, then all, then what is no row."""
    for row in found.rows:
        yield EffortLine(
            _KINDS.get(row.kind, row.kind),
            count(row.rows),
            (
                (count(row.planned_passes), count(row.passes)),
                (seconds_words(row.planned_seconds), seconds_words(row.seconds)),
                (bytes_words(row.planned_bytes), bytes_words(row.bytes)),
            ),
        )
    rows = found.rows
    yield EffortLine(
        "All rows",
        count(sum(row.rows for row in rows)),
        (
            (count(sum(row.planned_passes for row in rows)), count(sum(row.passes for row in rows))),
            (
                seconds_words(sum(row.planned_seconds for row in rows)),
                seconds_words(sum(row.seconds for row in rows)),
            ),
            (bytes_words(sum(row.planned_bytes for row in rows)), bytes_words(sum(row.bytes for row in rows))),
        ),
    )
    yield EffortLine("What is no row", DASH, ((DASH, DASH), (DASH, seconds_words(found.others)), (DASH, DASH)))


def effort_memory(found: Effort) -> str:
    """The memory of the leading process, in a sentence; empty where it was not kept."""
    if found.memory is None or found.planned_memory is None:
        return ""
    return (
        f"The leading process held at most {bytes_words(found.memory)}; after the first shard it had held "
        f"{bytes_words(found.planned_memory)}."
    )


def effort_starts(found: Effort) -> str:
    """Over how many starts what was spent is the sum, in a sentence; empty of one, and where that is not known."""
    if found.starts is None or found.starts < 2:
        return ""
    parts = "" if found.parts is None else f", those of {plural(found.parts, 'part')} among them"
    return (
        f"What was spent is the sum over {count(found.starts)} starts{parts}; one that was killed counts up to the "
        "last shard or step that it noted."
    )


def effort_notes(found: Effort) -> list[str]:
    """What is said below the table."""
    return list(filter(None, (effort_starts(found), effort_memory(found))))


def seconds_words(seconds: float) -> str:
    """A time of the processor.

    >>> seconds_words(0.42), seconds_words(154.2)
    ('0.4 s', '2 min 34 s')
    """
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def bytes_words(size: int) -> str:
    """A size, in powers of ten.

    >>> bytes_words(850), bytes_words(12345), bytes_words(2_340_000_000)
    ('850 B', '12.3 kB', '2.34 GB')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} B"
