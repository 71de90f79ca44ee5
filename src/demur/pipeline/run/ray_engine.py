"""Shards measured as tasks of a Ray cluster: one shard is one task, and the process that leads the run decides on all.

Ray's own retries are off: what became of a task is told, and tried again by whoever asked. Tasks that see the run
folder write their shard there themselves, under a name that does not count until it is renamed here.
"""

import pickle
import secrets
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from demur.data.kept_images import KeptImages
from demur.errors import InputError, RunError
from demur.pipeline.job import Job, Shard
from demur.pipeline.run.crew import death_of
from demur.pipeline.run.engine import Arrival, Died, Failed, Outcome, Work
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.placed_shard import PlacedShard, SharedFolder, sweep
from demur.pipeline.run.placing import Placing
from demur.pipeline.run.ray_broker import AHEAD, Need
from demur.pipeline.run.ray_link import RayLink
from demur.pipeline.run.ray_task import Post, builds
from demur.pipeline.run.resources import Resources
from demur.registry.regular_files import MIB

_UNOPENED = 6
"""Tasks that could not open the job, on every node there is, until it is taken for unreachable from the cluster."""

_FAILURES = 3
"""Times that a shard may fail by an error, on more than one node where there are, until this process measures it."""

_USUAL = 32
"""Tasks that a node of a cluster is taken to have room for, where none is there yet."""

_VISIBLE = 10.0
"""Seconds within which a network file system shows a file that another machine wrote."""

_CONTINUES = "What was measured is kept, and the same command continues."


class RayEngine:
    """Tasks of a Ray cluster, which is joined at once, so that a wrong address is told before anything is measured.

    Used as a context: at its end no task is left, and a cluster that was started for it is gone.

    Args:
        resources: the address of the cluster, and what each task needs.
        folder: of the run.

    Raises:
        InputError: the cluster cannot be joined.
    """

    def __init__(self, resources: Resources, folder: Path) -> None:
        self._threads, self._folder = resources.threads or 1, folder
        self._where = "on this machine" if resources.address is None else f"at {resources.address!r}"
        self._open: dict[int, Shard] = {}
        self._given, self._room, self._nodes, self._beside, self._opened = 0, 0, 0, 0, False
        self._unopened = Counter[str]()
        self._failed, self._vain = (defaultdict[tuple[str, bytes], list[str]](list) for _ in range(2))
        self._gpus, self._most = resources.gpus, resources.workers or AHEAD
        self._ends = ExitStack()
        self._ends.callback(sweep, folder)
        self._link = RayLink(_need(resources, self._threads))
        self._ends.callback(self._link.close)
        self._join()

    def _join(self) -> None:
        told = self._link.message()
        if told is not None and told[0] == "joined":
            self._beside = told[1]
            return
        why = self._link.last_words() if told is None else told[1]
        self._ends.close()
        raise InputError(
            f"Ray {self._where} cannot be used: {why}. Name a cluster of this Ray and this Python with --address "
            "HOST:PORT, or auto for the one that this machine belongs to; without --address one is started here."
        )

    def __enter__(self) -> "RayEngine":
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.close()

    @property
    def processes(self) -> int:
        """How many tasks there is room for."""
        return max(1, min(self._room, len(self._open)) if self._open else self._room)

    def start(self, job: Job, tasks: int) -> None:
        """Send the job to Ray, once.

        Raises:
            InputError: it cannot be sent to another process, or its model is on a GPU and no task has any.
        """
        if job.classifier.device.type == "cuda" and not self._gpus:
            raise InputError(
                f"the model is on {job.classifier.device}, and a task of Ray sees no GPU but what it asks for. Say "
                "how many one needs, such as --gpus-per-task 0.5."
            )
        share = max(1, min(tasks, self._most, self._beside or _USUAL))
        sent = pickle.dumps(replace(job, surrogate=None, kept=KeptImages(job.kept.budget // share)))
        folder = self._ends.enter_context(SharedFolder.of(self._folder))
        post = Post(
            key=secrets.token_hex(8),
            threads=self._threads,
            build=builds(),
            path=[str(Path(each).resolve()) for each in sys.path],
            folder=str(Path.cwd()),
        )
        duty = pickle.dumps((self._threads, pickle.dumps(Placing(sent, folder))))
        self._link.send((post, [duty, pickle.dumps(None)]))

    def give(self, task: Shard, *, aside: bool = False) -> None:  # noqa: ARG002 - no shard is for this process
        """Queue a shard, or a piece of one."""
        self._given += 1
        self._open[self._given] = task
        vain = sorted(set(self._vain.get((task.name, task.rows.tobytes()), ())))
        self._link.send((self._given, pickle.dumps(Work.of(task)), vain))

    def taken(self) -> Shard | None:
        """None: this process measures nothing itself."""
        return None

    def arrived(self, *, wait: bool) -> Iterator[Arrival]:
        """What became of shards.

        Raises:
            RunError: the cluster is gone, has no room for a task, or cannot open the job.
        """
        wait = wait and bool(self._open)
        while (told := self._link.message(wait=wait)) != ():
            arrival = self._understood(told)
            if arrival is not None:
                wait = False
                yield arrival

    def _understood(self, told: tuple[Any, ...] | None) -> Arrival | None:
        if told is None:
            raise RunError(
                f"the Ray cluster {self._where} is gone: {self._link.last_words()}. {_CONTINUES}",
            )
        match told:
            case ("room", int(room), int(nodes)):
                self._room, self._nodes = room, nodes
                return None
            case ("refused", str(why)):
                raise RunError(f"Ray {self._where} measures nothing: {why}. {_CONTINUES}")
            case ("told", int(number), answer):
                task = self._open.pop(number)
                return task, self._outcome(task, answer)
        raise AssertionError(told)

    def _outcome(self, task: Shard, told: tuple[str, Any, str]) -> Outcome:
        """What became of a shard on a node, in the words of an engine."""
        kind, content, node = told
        if kind == "answer":
            return self._answered(task, pickle.loads(content), node)  # noqa: S301 - of a process of this run
        if kind == "refused":
            raise RunError(
                f"{content}. Every node needs the packages of this process, for rows to be those of one machine. "
                f"{_CONTINUES}"
            )
        if kind == "unopened":
            self._vain[task.name, task.rows.tobytes()].append(node)
            return self._unreached(content, node)
        return _death(kind, content)

    def _answered(self, task: Shard, found: MeasuredShard | Failed, node: str) -> Outcome:
        self._opened = True
        if isinstance(found, Failed):
            return self._elsewhere(task, found, node)
        if found.encoded.rows != len(task.rows):
            raise RunError(
                f"{task.name} has {len(task.rows)} rows, and a node measured {found.encoded.rows} of it: its demur "
                f"cuts shards otherwise. Install the same everywhere. {_CONTINUES}"
            )
        if isinstance(found.encoded, PlacedShard):
            until = time.monotonic() + _VISIBLE
            while not found.encoded.is_there(self._folder):
                if time.monotonic() > until:
                    return Died(why="wrote a file that did not arrive", may_be_rows=False)
                time.sleep(0.2)
        return found

    def _elsewhere(self, task: Shard, found: Failed, node: str) -> Died | Failed:
        """An error may be a node's own, such as a full disk: others are asked before this process is."""
        tried = self._failed[task.name, task.rows.tobytes()]
        tried.append(node)
        self._vain[task.name, task.rows.tobytes()].append(node)
        several = len(set(tried)) > 1 or self._nodes < 2 or len(tried) >= 2 * _FAILURES
        if len(tried) >= _FAILURES and several:
            return found
        return Died(why=f"could not measure it: {found.why}", may_be_rows=False)

    def _unreached(self, why: str, node: str) -> Died:
        """A node that cannot open the job is as good as lost; if none can, it is not the nodes.

        Raises:
            RunError: no node could that there is, and none has.
        """
        self._unopened[node] += 1
        some = self._unopened.total() >= _UNOPENED and len(self._unopened) >= self._nodes
        if some and not self._opened:
            raise RunError(
                f"no node could open the model and the data: {why}. Put them where every node finds them at the same "
                f"address. {_CONTINUES}"
            )
        return Died(why=f"could not open the model and the data: {why}", may_be_rows=False)


def _death(kind: str, content: Any) -> Died:
    match kind:
        case "died":
            return death_of(content)
        case "memory":
            return Died(why="was ended by Ray for want of memory", may_be_rows=True)
        case "lost":
            return Died(why=f"was lost with its worker or its node ({content})", may_be_rows=False)
    return Died(why=f"could not ask about it ({content})", may_be_rows=False)


def _need(resources: Resources, threads: int) -> Need:
    return Need(
        address=resources.address,
        cores=None if resources.workers is None else resources.workers * threads,
        most=resources.workers or AHEAD,
        threads=threads,
        gpus=resources.gpus,
        memory=(resources.memory or 0) * MIB,
    )
