"""The work of an audit while it is done: who measures its shards, what is written, what is told of it."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from demur.errors import InputError
from demur.pipeline.job import Job, Shard
from demur.pipeline.run.crew import cores
from demur.pipeline.run.engine import Died, Failed, Outcome
from demur.pipeline.run.engines import engine_of
from demur.pipeline.run.forecast import Forecast
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.planned_effort import write_planned
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.retries import Retries
from demur.pipeline.run.run_writer import RunWriter

_TICK = 0.02
"""Seconds between two looks while something waits to be tried again."""


class Progress(Protocol):
    """What an audit tells whoever waits for it; rows of work done of all there are."""

    def start(self, rows: int) -> None:
        """The whole work, in rows times passes."""

    def advance(self, rows: int, what: str, left: float | None = None) -> None:
        """Some of it is done; `left` is how many seconds the rest takes, infinite where that cannot be told yet."""

    def say(self, what: str) -> None:
        """Something else is being done."""


class Effort:
    """Measures the shards of a job and writes each as soon as it is there; workers start once they are worth it.

    Used as a context: at its end no worker is left.
    """

    def __init__(self, job: Job, folder: RunWriter, progress: Progress, resources: Resources) -> None:
        self._job, self._folder, self._progress, self._resources = job, folder, progress, resources
        self._engine, self._forecast = engine_of(resources, folder.path), Forecast()
        self._retries = Retries(job)
        self._left: set[str] = set()
        self._open: set[str] = set()
        self._work: tuple[Shard, ...] = ()
        self._started, self._decided, self._expected = 0, False, False

    def __enter__(self) -> "Effort":
        self._engine.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.__exit__(*error)

    def begin(self, work: Sequence[Shard], missing: Sequence[Shard]) -> None:
        """Tell of the whole work, and of what an earlier run did of it."""
        self._work, self._left, self._forecast = tuple(work), {task.name for task in missing}, Forecast(missing)
        self._progress.start(sum(task.cost for task in work))
        for task in work:
            if task.name not in self._left:
                self._progress.advance(task.cost, task.condition.sentence, math.inf)

    def measure(self, tasks: Sequence[Shard], beside: Sequence[Callable[[], None]] = ()) -> None:
        """Measure shards, in whatever order, and write them; `beside` is done here first, step by step.

        Raises:
            RunError: processes died of a shard again and again, and of no row of it.
            ModelError: the model fails on most rows of a shard.
        """
        self._open = {task.name for task in tasks}
        self._give(tasks)
        for step in beside:
            step()
            self._go_on(wait=False)
        while self._open:
            task = self._engine.taken()
            if task is not None:
                self._keep(task, self._own(task))
            self._go_on(wait=task is None)

    def _give(self, tasks: Sequence[Shard]) -> None:
        """Hand out shards; those that processes may die of to others, where there can be any."""
        aside = {task.name for task in tasks if self._is_deadly(task)}
        if tasks and not self._started and self._resources.engine != "local":
            self._decided = self._start(len(self._left), needed=True)
        elif aside and not self._started and not self._start(1, needed=True):  # more once one shard was measured
            aside = set()
        for task in tasks:
            self._engine.give(task, aside=task.name in aside)

    def _is_deadly(self, task: Shard) -> bool:
        """Whether a process died of it, or of some shard of this run as a model can make it die."""
        flight = self._folder.flight
        return flight is not None and (flight.careful or (flight.death is not None and flight.death.what == task.name))

    def _own(self, task: Shard) -> MeasuredShard:
        with self._folder.times.of_what_is_broken_off(task.name), self._folder.at(task.name):
            return MeasuredShard.of(self._job, task)

    def _go_on(self, *, wait: bool) -> None:
        """Keep what arrived, and give again what is to be tried again."""
        for task in self._retries.due():
            self._engine.give(task, aside=True)
        for task, found in self._engine.arrived(wait=wait and not self._retries.waiting):
            whole = self._settled(task, found)
            if whole is not None:
                self._keep(*whole)
        if wait and self._retries.waiting:
            time.sleep(_TICK)

    def _settled(self, task: Shard, found: Outcome) -> tuple[Shard, MeasuredShard] | None:
        """The shard as a whole, as soon as it is there; what nobody else could measure is measured here."""
        if isinstance(found, Died):
            self._folder.log("a process died", what=task.name, why=found.why, rows=len(task.rows))
            return self._retries.died(task, found)
        return self._retries.measured(task, self._own(task) if isinstance(found, Failed) else found)

    def _keep(self, task: Shard, found: MeasuredShard) -> None:
        self._folder.times.note(task.name, found.seconds, found.cpu)  # it was spent even if this is not kept
        self._folder.add(task.name, task.condition.name, found.encoded)
        if found.why:
            what = "the model failed and was run again"
            self._folder.log(what, what=task.name, why=found.why, rows=found.failed)
        if not self._expected:
            self._expected = True
            write_planned(self._folder, self._work, task, found)
        self._forecast.note(task, found.seconds)
        self._left.remove(task.name)
        self._open.discard(task.name)
        left = self._forecast.left(self._engine.processes)
        self._progress.advance(task.cost, task.condition.sentence, left)
        if not self._decided:
            self._decided = True
            self._start_helpers()

    def _start_helpers(self) -> None:
        """As many as were named, or as the work that is left is worth by the shard that was measured first."""
        worth = self._resources.processes_for(self._forecast.seconds(), cores())
        here = 0 if self._folder.is_careful else 1
        helpers = min(worth, len(self._left)) - here - self._started
        if helpers > 0:
            self._start(helpers, needed=(self._resources.workers or 1) > 1)

    def _start(self, workers: int, *, needed: bool) -> bool:
        """Start workers; whether there can be any."""
        try:
            self._engine.start(self._job, workers)
        except InputError as error:
            if self._resources.engine != "local":
                raise
            if needed:
                self._progress.say(f"one process measures: {error}")
            self._decided = True
            return False
        self._started += workers
        return True
