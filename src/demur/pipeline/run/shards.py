"""The work of an audit, cut into shards: which images each condition is measured on, and what that may cost."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from demur.data import Index
from demur.pipeline.plan.conditions import Condition, Shape, conditions, steps_of
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.sections import sections
from demur.pipeline.run.job import SHARD, IndexRows, Job


@dataclass(frozen=True)
class Shard:
    """One shard of one condition."""

    name: str
    condition: Condition
    rows: IndexRows
    passes: float = 0.0
    """Of signals, beyond the one that all share."""

    @property
    def cost(self) -> int:
        """Passes it may take at most; a backward costs about as much as a forward."""
        steps = 0 if self.condition.attack is None else steps_of(self.condition.attack)
        steps += 0 if self.condition.map is None else self.condition.map.gradients
        return round(len(self.rows) * (1 + 2 * steps + self.passes))


def shards(job: Job) -> Iterator[Shard]:
    """Clean first, then the plan's conditions, then its searches, maps and hidden parts."""
    for number, condition in enumerate(measured_conditions(job.plan, job.source.input_shape)):
        rows = rows_of(condition, job.plan, job.index)
        passes = job.needs.passes if condition.scored else 0.0
        for shard, start in enumerate(range(0, len(rows), SHARD)):
            yield Shard(f"c{number:03d}-s{shard:04d}", condition, rows[start : start + SHARD], passes)


def measured_conditions(plan: Plan, shape: Shape) -> tuple[Condition, ...]:
    """All that is measured on images, in its order."""
    return (*conditions(plan.conditions.use, shape), *sections(plan, shape))


def rows_of(condition: Condition, plan: Plan, index: Index) -> IndexRows:
    """The index rows of a condition: attacks have their subset of the test rows, sections theirs, all others all."""
    match condition.kind:
        case "attack":
            return attacked_rows(index, plan.conditions.attacked)
        case "epsilon" if condition.region is None:
            return section_rows(index, plan.conditions.attacked, plan.epsilon.images)
        case "epsilon" | "map" | "intervention":
            return section_rows(index, plan.conditions.attacked, plan.attribution.images)
        case _:
            return np.arange(len(index), dtype=np.int64)


def attacked_rows(index: Index, count: int) -> IndexRows:
    """The readable test rows with the smallest content hashes, in the order of the source."""
    return np.array(sorted(_by_hash(index, index.rows_of("test"))[:count]), dtype=np.int64)


def section_rows(index: Index, attacked: int, count: int) -> IndexRows:
    """The first so many readable rows of any split, in the order of the source: those attacked first, then by hash."""
    first = _by_hash(index, index.rows_of("test"))[:attacked]
    others = _by_hash(index, set(range(len(index))) - set(first))
    return np.array(sorted([*first, *others][:count]), dtype=np.int64)


def _by_hash(index: Index, rows: Iterable[int]) -> list[int]:
    readable = (int(row) for row in rows if index.errors[row] is None)
    return sorted(readable, key=lambda row: (index.contents[row], index.sample_ids[row]))
