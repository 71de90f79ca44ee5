"""What a worker process does: it has a duty, such as a job to measure, and answers until nobody asks any more."""

import os
import pickle
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
import torch

from demur.containment import keep_freed_memory
from demur.foreign import blamed, reason
from demur.pipeline.job import Job, Shard, shards
from demur.pipeline.run.engine import Failed, Work
from demur.pipeline.run.measured_shard import MeasuredShard

READY = "ready"

_EVERY = 0.5


class Duty(Protocol):
    """What a helper process is there for; it travels to it pickled."""

    def __call__(self, asked: Any) -> object:
        """The answer to what is asked."""


@dataclass(frozen=True)
class Measuring:
    """The duty to measure shards of a job: `Work` in, the shard or why it failed out."""

    job: Job

    def __call__(self, asked: Work) -> MeasuredShard | Failed:
        """What became of a shard."""
        return answer(self.job, self._tasks, asked)

    @cached_property
    def _tasks(self) -> Mapping[str, Shard]:
        return {task.name: task for task in shards(self.job)}


def serve(descriptor: int) -> None:
    """Answer at a pipe: to threads and a duty with `READY`, and then what the duty answers to each question.

    An interruption from the terminal is left to the process that asks, which then ends this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    channel: Connection[Any, Any] = Connection(descriptor)
    try:
        threads, dumped = channel.recv()
        torch.set_num_threads(threads)
        keep_freed_memory()
        duty: Duty = pickle.loads(dumped)  # noqa: S301 - of the process that started this one
        channel.send(READY)
        while True:
            channel.send(duty(channel.recv()))
    except (EOFError, OSError):
        return


def answer(job: Job, tasks: Mapping[str, Shard], work: Work) -> MeasuredShard | Failed:
    """Measure a shard, wherever this is, or tell why that failed.

    Args:
        job: this process's own copy.
        tasks: its planned shards, by name.
        work: which of them, and of which rows.
    """
    try:
        task = tasks[work.name]
        if work.rows is not None:
            task = task.of_rows(np.array(work.rows, dtype=np.int64))
        with blamed():
            return MeasuredShard.of(job, task.without(work.lost))
    except BaseException as error:  # noqa: BLE001 - the process that asks measures it again, and tells what it meets
        return Failed(why=reason(error))


def _end_with(parent: int) -> None:
    """A helper whose parent was killed has nobody to measure for."""
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)
