"""What an audit expects to take, written once its first shard is measured, and what it held; of no result a part."""

import resource
import sys
from collections.abc import Sequence

from demur.files import read_json
from demur.pipeline.job import Shard
from demur.pipeline.run.forecast import EARLY
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.run_writer import RunWriter

PLANNED, SPENT = "timings/planned.json", "timings/spent.json"


def write_planned(folder: RunWriter, work: Sequence[Shard], first: Shard, found: MeasuredShard) -> None:
    """Write `timings/planned.json`, once: rows, passes, seconds, bytes of each kind, by what the first shard took.

    Attacks that leave rows alone once they fell are taken to make a third of the passes they may make.

    Args:
        folder: of the run.
        work: every shard there is.
        first: the one that was measured.
        found: what it took.
    """
    if folder.has(PLANNED):
        return
    rate, size = found.cpu / max(1, first.cost), found.encoded.size / max(1, found.encoded.rows)
    kinds = dict.fromkeys(task.condition.kind for task in work)
    expected = {kind: _expected([task for task in work if task.condition.kind == kind], rate, size) for kind in kinds}
    folder.write_json(PLANNED, {"kinds": expected, "memory": peak_memory()})


def _expected(tasks: Sequence[Shard], rate: float, size: float) -> dict[str, float]:
    """What shards of one kind take, by seconds of a pass and bytes of a row."""
    passes, rows = sum(map(_passes, tasks)), sum(len(task.rows) for task in tasks)
    return {"rows": rows, "passes": round(passes), "seconds": round(passes * rate, 3), "bytes": round(size * rows)}


def _passes(task: Shard) -> float:
    attack = task.condition.attack
    return task.cost * (EARLY if attack is not None and task.condition.keep != "worst" else 1.0)


def write_spent(folder: RunWriter) -> None:
    """Write `timings/spent.json`: the most that the leading process held, at an earlier start of the run or at this."""
    before = read_json(folder.path / SPENT)["memory"] if folder.has(SPENT) else 0
    folder.write_json(SPENT, {"memory": max(before, peak_memory())})


def peak_memory() -> int:
    """Bytes that this process held at most; those that it started are not counted."""
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
