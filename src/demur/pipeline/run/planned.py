"""Which images a planned shard is of, so that what lies in a run folder is known by its content, not by its place."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from demur.data import Index
from demur.pipeline.job import IndexRows, Job, Shard
from demur.records import read_shard


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a shard has to hold.

    Attributes:
        condition: the name of its condition.
        rows: the index rows it is of.
        index: whose rows these are.
    """

    condition: str
    rows: IndexRows = field(repr=False)
    index: Index = field(repr=False)

    @property
    def ids(self) -> Sequence[str]:
        """The ids of its images, in order."""
        return [self.index.sample_ids[row] for row in self.rows]

    def is_in(self, run: Path, name: str, condition: object, rows: object) -> bool:
        """Whether the shard of a name in a run folder, said to be of a condition and so many rows, holds just that."""
        if (condition, rows) != (self.condition, len(self.rows)):
            return False
        return read_shard(run, name, ["sample_id"])["sample_id"].equals(pl.Series(self.ids, dtype=pl.String))


def planned(job: Job, work: Iterable[Shard]) -> dict[str, Planned]:
    """What each shard of a job has to hold, by its name."""
    indices = {condition.name: job.on_images_of(condition).index for condition in job.conditions}
    return {
        task.name: Planned(condition=task.condition.name, rows=task.rows, index=indices[task.condition.name])
        for task in work
    }
