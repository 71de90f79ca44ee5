"""What a helper process does: it has a job, and measures the shards that it is told of until nobody asks any more."""

import os
import pickle
import signal
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import torch

from demur.foreign import blamed, reason
from demur.pipeline.job import Job, Shard, shards
from demur.pipeline.run.measured_shard import MeasuredShard

READY = "ready"

_EVERY = 0.5


def serve(descriptor: int) -> None:
    """Answer at a pipe: to threads and a job with `READY`, to a name and lost rows with the shard, or with the error.

    An interruption from the terminal is left to the process that asks, which then ends this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    channel: Connection[Any, Any] = Connection(descriptor)
    try:
        threads, dumped = channel.recv()
        torch.set_num_threads(threads)
        job = pickle.loads(dumped)  # noqa: S301 - of the process that started this one
        tasks = {task.name: task for task in shards(job)}
        channel.send(READY)
        while True:
            name, lost = channel.recv()
            channel.send(_answer(job, tasks[name].without(lost)))
    except (EOFError, OSError):
        return


def _answer(job: Job, task: Shard) -> MeasuredShard | str:
    try:
        with blamed():
            return MeasuredShard.of(job, task)
    except BaseException as error:  # noqa: BLE001 - the process that asks measures it again, and tells what it meets
        return reason(error)


def _end_with(parent: int) -> None:
    """A helper whose parent was killed has nobody to measure for."""
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)
