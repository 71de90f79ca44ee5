"""What measures the shards of an audit, wherever that is: the small interface between an engine and its driver.

The driver (`Effort`) decides what is tried again and what a shard's rows are in the end, and it alone writes the
journal: that is what makes a shard count once. An engine has workers, and tells what became of each shard.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from demur.pipeline.job import Job, Shard
from demur.pipeline.run.measured_shard import MeasuredShard


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker is told of a shard, which it finds by name in its own copy of the job.

    Attributes:
        name: of the planned shard.
        rows: those of its index rows that are asked for; None for all.
        lost: rows that are not asked about, and why.
    """

    name: str
    rows: tuple[int, ...] | None = None
    lost: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Shard) -> "Work":
        """What is told of a shard, or of a piece of one."""
        return cls(name=task.name, rows=tuple(task.rows.tolist()) if task.piece else None, lost=dict(task.lost))


@dataclass(frozen=True, kw_only=True)
class Died:
    """Whoever measured some rows is gone and sent nothing.

    Attributes:
        why: such as "ended by SIGSEGV", "ended by SIGKILL, as for want of memory" or "was on a node that is lost",
            to be read after "the process that measured it".
        may_be_rows: the rows may have caused it; a node that was lost or a task that was preempted is tried again only.
        crashed: the process did it to itself, as by SIGSEGV; otherwise it may have been killed by somebody.
    """

    why: str
    may_be_rows: bool
    crashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An error was raised that is not of the model's rows: who asks measures it again and tells what it meets."""

    why: str


Outcome: TypeAlias = MeasuredShard | Died | Failed

Arrival: TypeAlias = tuple[Shard, Outcome]


class Engine(Protocol):
    """Workers that measure shards; a context, at the end of which no worker is left."""

    def __enter__(self) -> "Engine": ...

    def __exit__(self, *error: object) -> None: ...

    @property
    def processes(self) -> int:
        """How many measure at once, for the forecast."""

    def start(self, job: Job, tasks: int) -> None:
        """Start workers, as many as so many shards at once can use at most.

        Raises:
            InputError: the job cannot be sent to a worker.
        """

    def give(self, task: Shard, *, aside: bool = False) -> None:
        """Queue a shard, or a piece of one: the same name with fewer rows.

        What died of it is `aside`: never taken back for this process, and told as failed where no worker can be.
        """

    def arrived(self, *, wait: bool) -> Iterator[Arrival]:
        """What became of shards since the last time; with `wait` at least one, unless none is open."""

    def taken(self) -> Shard | None:
        """A shard that is taken back, for this process to measure itself; None where it is to measure none."""
