"""A shard from its plan to its bytes: what each kind of condition is measured by, and what is done where it fails."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from demur.containment import contained
from demur.foreign import is_of_the_model, reason
from demur.pipeline.halving import MOST, measure_by_halves, release_memory
from demur.pipeline.job import IndexRows, Job, Shard
from demur.pipeline.plan.conditions import Condition, Kind
from demur.pipeline.run.attribution_rows import measure_map, measure_occlusion, measure_search
from demur.pipeline.run.placed_shard import PlacedShard
from demur.pipeline.run.record_rows import (
    failure_table,
    measure_attack,
    measure_clean,
    measure_corruption,
    measure_unknown,
)
from demur.records import EncodedShard

MEASURES: Mapping[Kind, Callable[[Job, Condition, IndexRows], pl.DataFrame]] = {
    "clean": measure_clean,
    "attack": measure_attack,
    "corruption": measure_corruption,
    "unknown": measure_unknown,
    "epsilon": measure_search,
    "map": measure_map,
    "intervention": measure_occlusion,
}
"""What each kind of condition is measured by: a shard's index rows in, its record rows out."""


@dataclass(frozen=True, kw_only=True)
class MeasuredShard:
    """The rows of a shard as they are written, whichever process measured them.

    Attributes:
        encoded: the rows, as bytes or as files that are in the run folder already.
        why: why the model was asked again about fewer of them; empty if all went well.
        failed: rows with an error.
        seconds: how long it took.
        cpu: seconds of the processor, of all threads of the process.
    """

    encoded: EncodedShard | PlacedShard
    why: str
    failed: int
    seconds: float
    cpu: float

    @classmethod
    def of(cls, job: Job, task: Shard) -> "MeasuredShard":
        """Measure the rows of a shard; where the model fails it is asked again about fewer of them."""
        begun, spent = time.monotonic(), time.process_time()
        table, why = _table(job.on_images_of(task.condition), task)
        encoded = EncodedShard.of(table, task.name)
        return cls(
            encoded=encoded,
            why=why,
            failed=table["error"].count(),
            seconds=time.monotonic() - begun,
            cpu=time.process_time() - spent,
        )


def _table(job: Job, task: Shard) -> tuple[pl.DataFrame, str]:
    """The rows of a shard in planned order, those on which the model failed already among them, and why it failed."""
    most = 1.0 if task.piece else MOST  # of all pieces together it is told whether the model failed on most rows
    if not task.lost:
        return _measured(job, task.condition, task.rows, most)
    left = np.array([row for row in task.rows if int(row) not in task.lost], dtype=np.int64)
    found, why = _measured(job, task.condition, left, most) if len(left) else (None, "")
    failures = [
        failure_table(job, task.condition, np.array([row], dtype=np.int64), text) for row, text in task.lost.items()
    ]
    tables = [*(() if found is None else (found,)), *failures]
    return in_order(task.rows, tables, [*left.tolist(), *task.lost]), why


def in_order(planned: IndexRows, tables: Sequence[pl.DataFrame], rows: Sequence[int]) -> pl.DataFrame:
    """One table of several, which have these index rows, in planned order."""
    place = {int(row): at for at, row in enumerate(planned)}
    return pl.concat(tables, how="diagonal")[np.argsort([place[row] for row in rows])]


def _measured(job: Job, condition: Condition, rows: IndexRows, most: float) -> tuple[pl.DataFrame, str]:
    measure = MEASURES[condition.kind]
    try:
        with contained():
            return measure(job, condition, rows), ""
    except BaseException as error:
        if not is_of_the_model(error):
            raise
        why = reason(error)
        error.__traceback__ = None  # it holds every tensor of the calls it came through
    release_memory()
    with contained():
        return measure_by_halves(job, condition, rows, measure, failure_table, most), why
