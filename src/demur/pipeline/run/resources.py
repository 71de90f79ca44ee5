"""What an audit may use: an engine, processes, threads, memory, an index. No part of a plan, and of no result."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from demur.data.kept_images import BUDGET
from demur.errors import InputError, unknown
from demur.registry.regular_files import MIB

ENGINES = ("local", "ray")

MOST = 1_000_000_000
"""What no number of processes, machines, threads, megabytes, or price of an hour is above."""

_WORTH = 15.0
"""Seconds of work for which one more process is started, which takes about four to be of use."""

_OF_ONE = 1500 * MIB
"""Memory that a process may take; half of the machine's is shared out."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an audit may use.

    Attributes:
        workers: processes that measure; by default as many as there are cores, where that is faster.
        threads: threads of the model in each process; by default one where there may be several processes, so that
            rows do not depend on how many there are, and else what torch takes.
        image_memory: megabytes of decoded images that are kept.
        engine: "local" for processes of this machine, "ray" for tasks of a Ray cluster.
        address: where the cluster is, such as "auto"; by default one is started on this machine.
        gpus: GPUs that a task of a cluster needs, parts of one among them.
        memory: MiB that a task of a cluster needs, by which it is placed.
        index: a folder that has what is to be known of the images, so that they need not be decoded for it.
        reading_shared: whether several processes may read images although one measures, such as beside a GPU.
    """

    workers: int | None = None
    threads: int | None = None
    image_memory: int = BUDGET // MIB
    engine: str = "local"
    address: str | None = None
    gpus: float = 0.0
    memory: int | None = None
    index: Path | None = None
    reading_shared: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (
            ("workers", self.workers, 1),
            ("threads", self.threads, 1),
            ("image_memory", self.image_memory, 0),
            ("gpus_per_task", self.gpus, 0),
            ("memory_per_task", self.memory, 1),
        ):
            if value is not None and not least <= value <= MOST:
                raise InputError(f"`{name}` must be at least {least}, and at most {MOST:,}; got {value!s:.40}.")
        self._check_engine()

    def _check_engine(self) -> None:
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        cluster = {"address": self.address, "gpus_per_task": self.gpus or None, "memory_per_task": self.memory}
        given = [name for name, value in cluster.items() if value is not None]
        if self.engine == "local" and given:
            raise InputError(
                f"`{given[0]}` is about the tasks of a cluster, and this audit runs in processes of this machine. Name "
                "the engine ray, or leave it out."
            )

    def with_engine(self, engine: str, address: str | None, gpus: float, memory: int | None) -> "Resources":
        """The same with another engine.

        Raises:
            InputError: it does not fit what is said of its tasks.
        """
        return replace(self, engine=engine, address=address, gpus=gpus, memory=memory)

    def settled(self, *, alone: bool, reading_alone: bool = True) -> "Resources":
        """The same for a job that stays in this process, or for one of which every process may have a copy.

        Where it stays, images that are no objects of this process are read by as many as pay, unless one is asked for.
        """
        if alone and self.workers in {None, 1} and self.engine == "local":
            return replace(self, workers=1, reading_shared=self.workers is None and not reading_alone)
        return replace(self, threads=self.threads or 1)

    @property
    def for_reading(self) -> "Resources":
        """The same for the pass through the images before anything is measured."""
        return replace(self, workers=None, threads=self.threads or 1) if self.reading_shared else self

    def processes_for(self, seconds: float, cores: int) -> int:
        """How many processes are worth their start for so much work."""
        if self.workers is not None:
            return self.workers
        room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (2 * _OF_ONE)
        return max(1, min(cores // (self.threads or 1), room, 1 + int(seconds / _WORTH)))
