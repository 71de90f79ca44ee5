"""How long an audit still takes, by what shards of each kind have taken so far."""

import math
from collections import defaultdict
from collections.abc import Iterable

from demur.pipeline.job import Shard

EARLY = 0.3
"""Share of the passes that an attack may take which most take: rows that fell are left alone."""

_TELLING = 0.5
"""Share of the time left that shards already measured must tell of, before anything is said of it."""


class Forecast:
    """Seconds per pass by condition and by kind, of those measured in this process and in others.

    Conditions that were not measured yet are taken to be like others of their kind, and else like any.
    """

    def __init__(self) -> None:
        self._spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def note(self, task: Shard, seconds: float) -> None:
        """A shard was measured."""
        for key in _keys(task):
            self._spent[key][0] += seconds
            self._spent[key][1] += task.cost

    def seconds(self, tasks: Iterable[Shard]) -> float:
        """How long these shards would take one after the other, as far as can be told; 0 before any was measured."""
        return sum(self._seconds(task)[0] for task in tasks)

    def left(self, tasks: Iterable[Shard], processes: int = 1) -> float:
        """How long these shards take so many processes; infinite while most of it is a guess."""
        found = [self._seconds(task) for task in tasks]
        total, told = sum(seconds for seconds, _ in found), sum(seconds for seconds, own in found if own)
        return total / processes if told and told >= _TELLING * total else math.inf

    def _seconds(self, task: Shard) -> tuple[float, bool]:
        """How long a shard takes, and whether that is by its own kind."""
        own, kind, every = (self._spent[key] for key in _keys(task))
        if own[1]:
            return task.cost * own[0] / own[1], True
        steps = task.condition.attack is not None
        if kind[1] and not steps:
            return task.cost * kind[0] / kind[1], True
        seconds = task.cost * every[0] / every[1] if every[1] else 0.0
        return seconds * (EARLY if steps and task.condition.keep != "worst" else 1), False


def _keys(task: Shard) -> tuple[str, str, str]:
    """Attacks differ by how soon rows fall, so each is a kind of its own."""
    return f"condition {task.condition.name}", f"kind {task.condition.kind}", "every"
