"""What an audit expects to take, written once its first shard is measured, and what it held; of no result a part."""

import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demur.files import read_json
from demur.pipeline.job import Shard
from demur.pipeline.run.forecast import EARLY
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.run_writer import RunWriter

PLANNED, SPENT = "timings/planned.json", "timings/spent.json"

PARTS = "timings/parts.json"
"""What parts of an audit planned and held, in the folder that they are merged into."""


def write_planned(folder: RunWriter, work: Sequence[Shard], first: Shard, found: MeasuredShard) -> None:
    """Write `timings/planned.json`, once: rows, passes, seconds, bytes of each kind, by what the first shard took.

    Attacks that leave rows alone once they fell are taken to make a third of the passes they may make.

    Args:
        folder: of the run.
        work: every shard there is.
        first: the one that was measured.
        found: what it took.
    """
    if not folder.has(PLANNED):
        rate, size = found.cpu / max(1.0, _passes(first)), found.encoded.size / max(1, found.encoded.rows)
        _write(folder, work, rate, size, peak_memory())


def write_planned_of_parts(folder: RunWriter, work: Sequence[Shard]) -> None:
    """The same for a run that was merged: by what the first shards of its parts took, in the mean over their plans.

    Nothing where there are no parts, or none has planned anything.
    """
    plans = [part["planned"] for part in _parts(folder).values() if part["planned"] is not None]
    kinds = [kind for plan in plans for kind in plan["kinds"].values()]
    rows, passes = sum(kind["rows"] for kind in kinds), sum(kind["passes"] for kind in kinds)
    if rows and passes and not folder.has(PLANNED):
        rate, size = (sum(kind[name] for kind in kinds) for name in ("seconds", "bytes"))
        _write(folder, work, rate / passes, size / rows, max(plan["memory"] for plan in plans))


def _write(folder: RunWriter, work: Sequence[Shard], rate: float, size: float, memory: int) -> None:
    kinds = dict.fromkeys(task.condition.kind for task in work)
    expected = {kind: _expected([task for task in work if task.condition.kind == kind], rate, size) for kind in kinds}
    folder.write_json(PLANNED, {"kinds": expected, "memory": memory})


def _expected(tasks: Sequence[Shard], rate: float, size: float) -> dict[str, float]:
    """What shards of one kind take, by seconds of a pass and bytes of a row."""
    passes, rows = sum(map(_passes, tasks)), sum(len(task.rows) for task in tasks)
    return {"rows": rows, "passes": round(passes), "seconds": round(passes * rate, 3), "bytes": round(size * rows)}


def _passes(task: Shard) -> float:
    attack = task.condition.attack
    return task.cost * (EARLY if attack is not None and task.condition.keep != "worst" else 1.0)


def write_spent(folder: RunWriter) -> None:
    """Write `timings/spent.json`: the most that a leading process held, of any start and part of the run, and how many.

    What was spent of time is in the lines that every start leaves.
    """
    before = read_json(folder.path / SPENT)["memory"] if folder.has(SPENT) else 0
    parts = _parts(folder)
    memory = max(before, peak_memory(), *(part["memory"] for part in parts.values()))
    folder.write_json(SPENT, {"memory": memory, **({"parts": len(parts)} if parts else {})})


def adopt_effort(folder: RunWriter, part: Path, name: str) -> None:
    """Keep what a part has planned and held, in the folder that it is merged into; what it planned first stays."""
    own, parts = RunWriter(part), _parts(folder)
    planned = read_json(part / PLANNED) if own.has(PLANNED) else None
    memory = read_json(part / SPENT)["memory"] if own.has(SPENT) else 0
    before = parts.get(name, {"planned": None, "memory": 0})
    now = {"planned": before["planned"] or planned, "memory": max(before["memory"], memory)}
    if parts.get(name) != now:
        folder.write_json(PARTS, {**parts, name: now})


def _parts(folder: RunWriter) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder.path / PARTS) if folder.has(PARTS) else {}
    return found


def peak_memory() -> int:
    """Bytes that this process held at most; those that it started are not counted."""
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
