"""What an audit expected to take, once its first shard was measured, beside what it took."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demur.analysis.quantity import Table
from demur.analysis.run_folder import Run
from demur.files import json_lines
from demur.records import shard_entries
from demur.seal import shard_files

PLANNED, SPENT, TIMES = "timings/planned.json", "timings/spent.json", "timings/times.jsonl"

_FOREVER = 1e10
"""Seconds that nothing takes."""


class EffortRow(Table):
    """One kind of condition: its rows, and passes, seconds of the processor and bytes on disk, planned and spent."""

    kind: str
    rows: int
    planned_passes: int
    passes: int
    planned_seconds: float
    seconds: float
    planned_bytes: int
    bytes: int


class Effort(Table):
    """All kinds; `others` are seconds of the processor of what is no row, which no plan is made of.

    `memory` is the most that a leading process held, in bytes; `planned_memory` what it had held after the first
    shard. Both are null where that was not kept. What was spent is the sum over `starts`, which are null of runs of
    earlier versions; `parts` of a run that was merged had some of them.
    """

    rows: tuple[EffortRow, ...]
    others: float
    planned_memory: int | None
    memory: int | None
    starts: int | None = None
    parts: int | None = None


def effort(run: Run) -> Effort | None:
    """The table; None where the audit kept no plan, as those of earlier versions and of parts that these measured."""
    planned, spent = run.optional_file(PLANNED), run.optional_file(SPENT)
    if planned is None:
        return None
    kinds = [entry["kind"] for entry in run.facts["conditions"]]
    seconds, sizes = _seconds(run.path), dict(_sizes(run.path))
    return Effort(
        rows=tuple(
            EffortRow(
                kind=kind,
                rows=int(told["rows"]),
                planned_passes=int(told["passes"]),
                passes=_passes(run, kind),
                planned_seconds=told["seconds"],
                seconds=sum(spent for number, spent in seconds.items() if _kind(number, kinds) == kind),
                planned_bytes=int(told["bytes"]),
                bytes=sum(size for shard, size in sizes.items() if _kind(shard.partition("-")[0], kinds) == kind),
            )
            for kind, told in planned["kinds"].items()
        ),
        others=sum(spent for name, spent in seconds.items() if _kind(name, kinds) is None),
        planned_memory=planned["memory"],
        memory=None if spent is None else spent["memory"],
        starts=len(starts(run.path)) or None,
        parts=None if spent is None else spent.get("parts"),
    )


def starts(run: Path) -> dict[str, float]:
    """Seconds of each start of a run and of its parts, up to the last that is known of it; none of earlier versions."""
    found: dict[str, float] = {}
    for entry in json_lines(run / TIMES):
        start, since = entry.get("start"), _number(entry, "since")
        if isinstance(start, str):
            found[start] = max(found.get(start, 0.0), since)
    return found


def _number(entry: dict[str, Any], name: str) -> float:
    """A time that a line tells; 0 of one that tells none, for nothing vouches for these lines."""
    value = entry.get(name)
    return float(value) if isinstance(value, int | float) and 0 <= value < _FOREVER else 0.0


def _kind(name: str, kinds: list[str]) -> str | None:
    """The kind of the condition whose number a shard's name begins with; None of what is no shard."""
    number = name.removeprefix("c")
    known = name.startswith("c") and number.isdecimal() and int(number) < len(kinds)
    return kinds[int(number)] if known else None


def _passes(run: Run, kind: str) -> int:
    """Of all rows, those too that take part in no result."""
    return sum(sum(run.passes_of(entry["name"])) for entry in run.facts["conditions"] if entry["kind"] == kind)


def _seconds(run: Path) -> dict[str, float]:
    """Seconds of the processor by condition, `c003`, and by step; what was done again counts each time."""
    found: dict[str, float] = {}
    for entry in json_lines(run / TIMES):
        name = str(entry.get("name")).partition("-s")[0]
        found[name] = found.get(name, 0.0) + _number(entry, "cpu")
    return found


def _sizes(run: Path) -> Iterator[tuple[str, int]]:
    """Bytes of each shard, its parts with it."""
    for entry in shard_entries(run):
        yield entry["shard"], sum((run / name).stat().st_size for name, _ in shard_files(entry))
