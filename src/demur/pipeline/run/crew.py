"""Processes that help to measure: each has the job, is told the name of a shard and sends back its bytes.

They are the engine of one machine. This process measures beside them, but never what a process died of: that a new
helper is given.
"""

import math
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import torch

from demur.containment import how_it_ended
from demur.data.kept_images import KeptImages
from demur.pipeline.job import Job, Shard
from demur.pipeline.run.engine import Arrival, Died, Failed, Work
from demur.pipeline.run.helper import READY, Measuring
from demur.pipeline.run.nursery import Child, Nursery
from demur.pipeline.run.own_process import DYING

_STARTS = 3
"""Helpers that end before they have the job, one after the other, until no more are tried."""

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
"""Signals that end a process for what it did itself."""

_CGROUPS = Path("/sys/fs/cgroup")


def cores(cgroups: Path = _CGROUPS) -> int:
    """How many processors this process may use: those it may run on, and of their time what its container may take."""
    if sys.version_info >= (3, 13):
        own = os.process_cpu_count() or 1
    else:
        own = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota = _quota(cgroups)
    return own if quota is None else min(own, math.ceil(quota))


def _quota(cgroups: Path) -> float | None:
    """Processors' worth of time that a container's control group allows, of version 2 or 1; None where it is open."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with suppress(OSError, ValueError, ZeroDivisionError):
            most, period = map(float, " ".join((cgroups / name).read_text() for name in files).split())
            return most / period if most > 0 else None  # "max" is no number, and an open quota of version 1 is -1
    return None


@dataclass(frozen=True, eq=False)
class Helper:
    """A process that measures, and the way to it."""

    process: Child
    channel: "Connection[Any, Any]"

    @classmethod
    def of(cls, nursery: Nursery) -> "Helper":
        """Start one.

        Raises:
            OSError: the machine starts no process.
        """
        return cls(*nursery.child())

    def ask(self, what: object) -> Any:
        """Send it something and wait for its answer; None where it ended."""
        try:
            self.channel.send(what)
            return self.channel.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return None

    def end(self) -> None:
        """End it now; what it was at is lost."""
        self.process.kill()
        self.process.wait()
        with suppress(OSError):
            self.channel.close()

    def death(self) -> Died:
        """Why one that gave no answer ended."""
        status = self.process.wait(DYING)
        if status is None:  # it lives, and what it says is not to be understood
            self.end()
        return death_of(status)


def death_of(status: int | None) -> Died:
    """What is told of a process that ended with a status while it measured; None of one that lived and was mute."""
    if status is None:
        return Died(why="gave no answer that could be read", may_be_rows=True)
    return Died(why=how_it_ended(status), may_be_rows=True, crashed=status >= 0 or -status in CRASHES)


class Crew:
    """This process and its helpers, of which there are none until some are started.

    Used as a context: at its end, or at an error, every helper is gone.

    Args:
        threads: of each helper; by default as many as this process uses.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._nursery = Nursery(threads or torch.get_num_threads())
        self._tasks: deque[Shard] = deque()
        self._arrivals: SimpleQueue[Arrival] = SimpleQueue()
        self._turn = threading.Condition()
        self._helpers: set[Helper] = set()
        self._attendants: list[threading.Thread] = []
        self._aside: deque[Shard] = deque()
        self._serving = 0
        self._closed = False

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_error: object) -> None:
        with self._turn:
            self._closed = True
            self._turn.notify_all()
            left = list(self._helpers)
        for helper in left:
            helper.end()
        for attendant in self._attendants:
            attendant.join()
        self._nursery.close()

    @property
    def processes(self) -> int:
        """How many measure, this one among them."""
        return 1 + self._serving

    def start(self, job: Job, tasks: int) -> None:
        """Start so many helpers; each takes part as soon as it has the job, and is replaced if it dies.

        Raises:
            InputError: the job cannot be sent to another process.
        """
        duty = pickle.dumps(Measuring(sent(job, tasks)))
        for _ in range(tasks):
            attendant = threading.Thread(target=self._attend, args=(duty,), daemon=True)
            self._attendants.append(attendant)
            self._serving += 1
            attendant.start()

    def give(self, task: Shard, *, aside: bool = False) -> None:
        """Queue a shard or a piece of one; `aside` for helpers alone, which come to it first."""
        with self._turn:
            (self._aside if aside else self._tasks).append(task)
            self._turn.notify_all()
            self._give_up_without_helpers()

    def taken(self) -> Shard | None:
        """A shard for this process."""
        with self._turn:
            return self._tasks.popleft() if self._tasks else None

    def arrived(self, *, wait: bool) -> Iterator[Arrival]:
        """What became of shards that helpers were given."""
        with suppress(Empty):
            while True:
                yield self._arrivals.get(block=wait)
                wait = False

    def _attend(self, duty: bytes) -> None:
        """Give helpers one shard after the other; whoever dies is followed by another, unless it cannot even start."""
        vain = 0
        while vain < _STARTS and (helper := self._started()) is not None:
            ready = helper.ask((self._nursery.threads, duty)) == READY
            vain = 0 if ready else vain + 1
            if ready:
                self._attend_one(helper)
            self._left(helper)
        with self._turn:
            self._serving -= 1
            self._give_up_without_helpers()

    def _started(self) -> Helper | None:
        """A new helper; none where this ends or the machine starts no process."""
        with self._turn:
            if self._closed:
                return None
            try:
                helper = Helper.of(self._nursery)
            except OSError:
                return None
            self._helpers.add(helper)
            return helper

    def _left(self, helper: Helper) -> None:
        with self._turn:
            self._helpers.discard(helper)
        helper.end()

    def _attend_one(self, helper: Helper) -> None:
        """Give a helper one shard after the other, for as long as it answers."""
        while (task := self._next()) is not None:
            found = helper.ask(Work.of(task))
            if found is None:
                self._arrivals.put((task, Failed(why="interrupted") if self._closed else helper.death()))
                return
            self._arrivals.put((task, found))

    def _next(self) -> Shard | None:
        """The next shard, as soon as there is one; None at the end."""
        with self._turn:
            while not self._aside and not self._tasks and not self._closed:
                self._turn.wait()
            return None if self._closed else (self._aside or self._tasks).popleft()

    def _give_up_without_helpers(self) -> None:
        """What is for helpers alone has failed once there are none, and can be none."""
        while self._aside and not self._serving:
            self._arrivals.put((self._aside.popleft(), Failed(why="no other process could be started to measure it")))


def sent(job: Job, processes: int) -> Job:
    """The job as other processes have it: each keeps its share of images."""
    return replace(job, surrogate=None, kept=KeptImages(job.kept.budget // max(1, processes)))
