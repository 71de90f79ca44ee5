"""Processes that help to measure: each has the job, is told the name of a shard and sends back its bytes.

Only this process writes. A shard that a helper could not measure, because something failed or it was killed, is
measured here, where it goes well or is told of as it would be without helpers. Helpers are started anew rather than
forked, for threads do not survive a fork, and by a command of their own rather than by `multiprocessing`, which would
run the user's script again.
"""

import json
import math
import multiprocessing.connection as channels
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from demur.data.kept_images import KeptImages
from demur.pipeline.job import Job, Shard
from demur.pipeline.run.measured_shard import MeasuredShard

Arrival: TypeAlias = tuple[Shard, MeasuredShard | None]

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from demur.pipeline.run.helper import serve; serve(int(sys.argv[1]))"
)


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

    process: subprocess.Popen[bytes]
    channel: "channels.Connection[Any, Any]"

    @classmethod
    def of(cls, threads: int) -> "Helper":
        """Start one that uses so many threads."""
        ours, theirs = channels.Pipe()
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
        words = [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), json.dumps(sys.path)]
        process = subprocess.Popen(  # noqa: S603 - this interpreter and a line of this file
            words, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL
        )
        theirs.close()
        return cls(process, ours)

    def ask(self, what: object) -> object:
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


class Crew:
    """This process and its helpers, of which there are none until some are started.

    Used as a context: at its end, or at an error, every helper is gone.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._tasks: deque[Shard] = deque()
        self._arrivals: SimpleQueue[Arrival] = SimpleQueue()
        self._turn = threading.Condition()
        self._helpers: list[Helper] = []
        self._attendants: list[threading.Thread] = []
        self._closed = False

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_error: object) -> None:
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        for helper in self._helpers:
            helper.end()
        for attendant in self._attendants:
            attendant.join()
        for helper in self._helpers:
            with suppress(OSError):
                helper.channel.close()

    @property
    def processes(self) -> int:
        """How many measure, this one among them."""
        return 1 + len(self._helpers)

    def start(self, job: Job, helpers: int) -> None:
        """Start so many helpers; each takes part as soon as it has the job.

        Raises:
            InputError: the job cannot be sent to another process.
        """
        sent = pickle.dumps(replace(job, surrogate=None, kept=KeptImages(job.kept.budget // max(1, helpers))))
        for _ in range(helpers):
            helper = Helper.of(self._threads)
            attendant = threading.Thread(target=self._attend, args=(helper, sent), daemon=True)
            self._helpers.append(helper)
            self._attendants.append(attendant)
            attendant.start()

    def measured(
        self,
        tasks: Sequence[Shard],
        own: Callable[[Shard], MeasuredShard],
        beside: Sequence[Callable[[], None]] = (),
    ) -> Iterator[tuple[Shard, MeasuredShard]]:
        """Every shard as soon as it is measured, in whatever order.

        Args:
            tasks: the shards.
            own: measures one here.
            beside: what is done here first, step by step, while helpers measure.
        """
        with self._turn:
            self._tasks.extend(tasks)
            self._turn.notify_all()
        left = len(tasks)
        for step in beside:
            step()
            for other, found in self._arrived(wait=False):
                yield other, found or own(other)
                left -= 1
        while left:
            task = self._taken()
            if task is not None:
                yield task, own(task)
                left -= 1
            for other, found in self._arrived(wait=task is None):
                yield other, found or own(other)
                left -= 1

    def _taken(self) -> Shard | None:
        with self._turn:
            return self._tasks.popleft() if self._tasks else None

    def _arrived(self, *, wait: bool) -> Iterator[Arrival]:
        with suppress(Empty):
            while True:
                yield self._arrivals.get(block=wait)
                wait = False

    def _attend(self, helper: Helper, job: bytes) -> None:
        """Give a helper one shard after the other, for as long as it answers."""
        if helper.ask((self._threads, job)) is None:
            return
        while (task := self._next()) is not None:
            found = helper.ask((task.name, dict(task.lost)))
            self._arrivals.put((task, found if isinstance(found, MeasuredShard) else None))
            if found is None:
                return

    def _next(self) -> Shard | None:
        """The next shard, as soon as there is one; None at the end."""
        with self._turn:
            while not self._tasks and not self._closed:
                self._turn.wait()
            return None if self._closed else self._tasks.popleft()
