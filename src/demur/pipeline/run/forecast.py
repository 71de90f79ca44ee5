"""How long an audit still takes, by what shards of each kind have taken so far."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from demur.pipeline.job import Shard

EARLY = 0.3
"""Share of the passes that an attack may take which most take: rows that fell are left alone."""

_TELLING = 0.5
"""Share of the time left that shards already measured must tell of, before anything is said of it."""


@dataclass(slots=True)
class _Pace:
    """Seconds and passes of what was measured, and passes of what is left."""

    seconds: float = 0.0
    passes: int = 0
    left: int = 0

    def of(self, passes: int) -> float:
        """Seconds of so many passes; 0 before any was measured."""
        return passes * self.seconds / self.passes if self.passes else 0.0


class Forecast:
    """Seconds per pass by condition and by kind, of those measured in this process and in others.

    Conditions that were not measured yet are taken to be like others of their kind, and else like any. What is left is
    kept by condition, so that what is told after each shard costs as much as there are conditions, and not shards.

    Args:
        tasks: the shards that are left.
    """

    def __init__(self, tasks: Iterable[Shard] = ()) -> None:
        self._every = _Pace()
        self._kinds: dict[str, _Pace] = {}
        self._own: dict[str, tuple[Shard, _Pace]] = {}
        for task in tasks:
            self._of(task)[1].left += task.cost

    def note(self, task: Shard, seconds: float) -> None:
        """A shard was measured, and is left no more."""
        kind, own = self._of(task)
        for pace in (self._every, kind, own):
            pace.seconds += seconds
            pace.passes += task.cost
        own.left = max(0, own.left - task.cost)

    def seconds(self) -> float:
        """How long what is left would take one process, as far as can be told; 0 before anything was measured."""
        return sum(self._seconds(task)[0] for task, own in self._own.values() if own.left)

    def left(self, processes: int = 1) -> float:
        """How long what is left takes so many processes; infinite while most of it is a guess."""
        found = [self._seconds(task) for task, own in self._own.values() if own.left]
        total, told = sum(seconds for seconds, _ in found), sum(seconds for seconds, own in found if own)
        return total / processes if told and told >= _TELLING * total else math.inf

    def _of(self, task: Shard) -> tuple[_Pace, _Pace]:
        """What is kept of its kind and of its condition: attacks differ by how soon rows fall, so each is a kind."""
        kind = self._kinds.setdefault(task.condition.kind, _Pace())
        return kind, self._own.setdefault(task.condition.name, (task, _Pace()))[1]

    def _seconds(self, task: Shard) -> tuple[float, bool]:
        """How long what is left of the condition of a shard takes, and whether that is by its own kind."""
        kind, own = self._of(task)
        if own.passes:
            return own.of(own.left), True
        steps = task.condition.attack is not None
        if kind.passes and not steps:
            return kind.of(own.left), True
        return self._every.of(own.left) * (EARLY if steps and task.condition.keep != "worst" else 1), False
