"""A shard of which a process died, measured in pieces: which, and what they come to once all are there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from demur.pipeline.halving import MOST, batches, mostly_failed, planned_parts
from demur.pipeline.job import IndexRows, Job, Shard
from demur.pipeline.run.measured_shard import MeasuredShard, in_order
from demur.pipeline.run.record_rows import failure_table
from demur.records import BATCH_SIZE, EncodedShard


def cut(job: Job, task: Shard) -> list[Shard]:
    """The pieces to go on with, each half as long or a planned batch, without rows that are not asked about."""
    rows = np.array([row for row in task.rows if int(row) not in task.lost], dtype=np.int64)
    parts = [] if task.piece else batches(job, rows)
    if len(parts) < 2:
        parts = [part for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]) if len(part)]
    return [task.of_rows(part) for part in parts]


@dataclass
class Pieces:
    """What is there of a shard that was cut.

    Attributes:
        whole: the shard.
        measured: its pieces that were measured.
        crashed: rows that no process survives, and why.
    """

    whole: Shard
    measured: list[tuple[IndexRows, MeasuredShard]] = field(default_factory=list)
    crashed: dict[int, str] = field(default_factory=dict)

    @property
    def are_all(self) -> bool:
        """Whether every row is there."""
        asked = len(self.whole.rows) - len(self.whole.lost)
        return sum(len(rows) for rows, _ in self.measured) + len(self.crashed) == asked

    def together(self, job: Job, why: str) -> MeasuredShard:
        """The shard in planned order; what was measured in another batch than planned says so.

        Args:
            job: whose shard it is.
            why: why it was cut.

        Raises:
            ModelError: most of its rows failed.
        """
        job = job.on_images_of(self.whole.condition)
        lost = {**self.whole.lost, **self.crashed}
        tables = [*self._tables(job), *self._failures(job, lost)]
        rows = [int(row) for part, _ in self.measured for row in part]
        table = in_order(self.whole.rows, tables, [*rows, *lost]).rechunk()
        self._check(job, table, why)
        return MeasuredShard(
            encoded=EncodedShard.of(table, self.whole.name),
            why=why if self.crashed else next((found.why for _, found in self.measured if found.why), ""),
            failed=table["error"].count(),
            seconds=sum(found.seconds for _, found in self.measured),
            cpu=sum(found.cpu for _, found in self.measured),
        )

    def _tables(self, job: Job) -> Iterator[pl.DataFrame]:
        asked = np.array([row for row in self.whole.rows if int(row) not in self.whole.lost], dtype=np.int64)
        planned = planned_parts(job, self.whole.condition, asked)
        for rows, found in self.measured:
            assert isinstance(found.encoded, EncodedShard)  # only whole shards are placed
            table = found.encoded.table()
            if tuple(rows.tolist()) not in planned and BATCH_SIZE not in table.columns:
                table = table.with_columns(pl.lit(len(rows), pl.Int32).alias(BATCH_SIZE))
            yield table

    def _failures(self, job: Job, lost: Mapping[int, str]) -> Iterator[pl.DataFrame]:
        for row, why in lost.items():
            yield failure_table(job, self.whole.condition, np.array([row], dtype=np.int64), why)

    def _check(self, job: Job, table: pl.DataFrame, why: str) -> None:
        own = [job.index.errors[int(row)] is not None or int(row) in self.whole.lost for row in self.whole.rows]
        failed = table.filter(~pl.Series(own) & pl.col("error").is_not_null())["error"]
        if len(failed) > MOST * len(table):
            said = why if self.crashed else failed[0]
            raise mostly_failed(f"{len(failed)} of {len(table)} images under {self.whole.condition.name}", said)
