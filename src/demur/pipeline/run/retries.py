"""What is done about a shard of which a process died: it is tried again after a while, and then in pieces.

A process that died tells nothing of a row. The shard is given again; one of which processes die again and again is cut
into its batches, and those into halves, until the row is known that none survives alone. Rows are not suspected where
a machine was lost: such a shard is only tried again.
"""

import heapq
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import count

from demur.errors import RunError
from demur.pipeline.job import DIED, Job, Shard
from demur.pipeline.run.engine import Died
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.pieces import Pieces, cut

_LOSSES = 20
"""Times that a shard is tried again after its machine was lost."""

_DEATHS = 100
"""Processes that may die of one shard, about ten for each row that none survives."""

_SHORTEST, _LONGEST = 0.05, 30.0
"""Seconds that the first wait before a shard is given again is about, and the longest."""


class Retries:
    """Shards of which processes died, and what is there of them.

    Args:
        job: whose shards they are.
        seed: of the waits, which nothing depends on.
    """

    def __init__(self, job: Job, seed: int = 0) -> None:
        self._job = job
        self._random = random.Random(seed)  # noqa: S311 - only to spread waits
        self._later: list[tuple[float, int, Shard]] = []
        self._numbers = count()
        self._deaths: dict[tuple[str, bytes], Counter[str]] = defaultdict(Counter)
        self._pieces: dict[str, Pieces] = {}
        self._whys: dict[str, str] = {}

    @property
    def waiting(self) -> bool:
        """Whether some are to be given again after a while."""
        return bool(self._later)

    def due(self) -> Iterator[Shard]:
        """Those whose wait is over."""
        while self._later and self._later[0][0] <= time.monotonic():
            yield heapq.heappop(self._later)[2]

    def measured(self, task: Shard, found: MeasuredShard) -> tuple[Shard, MeasuredShard] | None:
        """The shard as a whole, if it is there with this; None while pieces of it are missing."""
        if not task.piece:
            return task, found
        pieces = self._pieces[task.name]
        pieces.measured.append((task.rows, found))
        return self._together(pieces)

    def died(self, task: Shard, death: Died) -> tuple[Shard, MeasuredShard] | None:
        """Note a death, and plan what is to be tried; the shard as a whole, if it is there with this.

        Raises:
            RunError: it has been tried often enough.
            ModelError: no process survives most of its rows.
        """
        kind = "lost" if not death.may_be_rows else "crashed" if death.crashed else "killed"
        deaths = self._deaths[task.name, task.rows.tobytes()]
        deaths[kind] += 1
        self._check(task, death)
        alone = len(task.rows) - len(task.lost) < 2
        if not _suspected(deaths, alone=alone, piece=task.piece):
            self._give_later(task, deaths.total())
            return None
        self._whys[task.name] = f"{DIED}{death.why}"
        pieces = self._pieces.setdefault(task.name, Pieces(task))
        if alone:
            pieces.crashed |= {int(row): f"{DIED}{death.why}" for row in task.rows if int(row) not in task.lost}
            return self._together(pieces)
        for piece in cut(self._job, task):
            self._give_later(piece, 1)
        return None

    def _together(self, pieces: Pieces) -> tuple[Shard, MeasuredShard] | None:
        if not pieces.are_all:
            return None
        name = pieces.whole.name
        del self._pieces[name]
        return pieces.whole, pieces.together(self._job, self._whys[name])

    def _give_later(self, task: Shard, tries: int) -> None:
        wait = min(_LONGEST, _SHORTEST * 2 ** (tries - 1)) * self._random.uniform(0.5, 1.5)
        heapq.heappush(self._later, (time.monotonic() + wait, next(self._numbers), task))

    def _check(self, task: Shard, death: Died) -> None:
        found = Counter[str]()
        for (name, _), deaths in self._deaths.items():
            found += deaths if name == task.name else Counter()
        if found["lost"] > _LOSSES or found["crashed"] + found["killed"] > _DEATHS:
            raise RunError(
                f"{task.name}, a shard of {task.condition.name}, was given up after {found.total()} "
                f"deaths: {DIED}{death.why}. What was measured before is whole; the same command continues."
            )


def _suspected(deaths: Counter[str], *, alone: bool, piece: bool) -> bool:
    """Whether the rows are to be cut, or a row alone to be given up.

    What kills a process from outside may do so by chance, so that it takes more of it. A piece is of a shard that is
    suspected already.
    """
    sure, likely = (1, 2) if piece and not alone else (2, 4)
    return deaths["crashed"] >= sure or deaths["crashed"] + deaths["killed"] >= likely
