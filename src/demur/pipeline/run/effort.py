"""The work of an audit while it is done: who measures its shards, what is written, what is told of it."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from demur.errors import InputError
from demur.pipeline.job import Job, Shard
from demur.pipeline.run.crew import Crew, cores
from demur.pipeline.run.forecast import Forecast
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.planned_effort import write_planned
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.run_writer import RunWriter


class Progress(Protocol):
    """What an audit tells whoever waits for it; rows of work done of all there are."""

    def start(self, rows: int) -> None:
        """The whole work, in rows times passes."""

    def advance(self, rows: int, what: str, left: float | None = None) -> None:
        """Some of it is done; `left` is how many seconds the rest takes, infinite where that cannot be told yet."""

    def say(self, what: str) -> None:
        """Something else is being done."""


class Effort:
    """Measures the shards of a job and writes each as soon as it is there; helpers start once they are worth it.

    Used as a context: at its end no helper is left.
    """

    def __init__(self, job: Job, folder: RunWriter, progress: Progress, resources: Resources) -> None:
        self._job, self._folder, self._progress, self._resources = job, folder, progress, resources
        self._crew, self._forecast = Crew(resources.threads or 1), Forecast()
        self._left: dict[str, Shard] = {}
        self._work: tuple[Shard, ...] = ()
        self._decided = False

    def __enter__(self) -> "Effort":
        return self

    def __exit__(self, *error: object) -> None:
        self._crew.__exit__(*error)

    def begin(self, work: Sequence[Shard], missing: Sequence[Shard]) -> None:
        """Tell of the whole work, and of what an earlier run did of it."""
        self._work, self._left = tuple(work), {task.name: task for task in missing}
        self._progress.start(sum(task.cost for task in work))
        for task in work:
            if task.name not in self._left:
                self._progress.advance(task.cost, task.condition.sentence, math.inf)

    def measure(self, tasks: Sequence[Shard], beside: Sequence[Callable[[], None]] = ()) -> None:
        """Measure shards, in whatever order, and write them; `beside` is done here first, step by step."""
        for task, found in self._crew.measured(tasks, partial(MeasuredShard.of, self._job), beside):
            self._keep(task, found)
            if not self._decided:
                self._decided = True
                self._start_helpers()

    def _keep(self, task: Shard, found: MeasuredShard) -> None:
        self._folder.add(task.name, task.condition.name, found.encoded)
        if found.why:
            what = "the model failed and was run again"
            self._folder.log(what, what=task.name, why=found.why, rows=found.failed)
        self._folder.time(task.name, found.seconds, found.cpu)
        if not self._decided:
            write_planned(self._folder, self._work, task, found)
        self._forecast.note(task, found.seconds)
        del self._left[task.name]
        left = self._forecast.left(self._left.values(), self._crew.processes)
        self._progress.advance(task.cost, task.condition.sentence, left)

    def _start_helpers(self) -> None:
        """As many as were named, or as the work that is left is worth by the shard that was measured first."""
        worth = self._resources.processes_for(self._forecast.seconds(self._left.values()), cores())
        helpers = min(worth, len(self._left)) - 1
        if helpers <= 0:
            return
        try:
            self._crew.start(self._job, helpers)
        except InputError as error:
            if (self._resources.workers or 1) > 1:
                self._progress.say(f"one process measures: {error}")
