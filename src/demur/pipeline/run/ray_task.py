"""What a Ray worker does with a task: it asks a process of its own, which has the job, and passes on what that says.

A model that crashes ends that process, whose status tells why, and not Ray's worker, of whose end Ray tells nothing. So
a worker stays small: nothing here imports torch, and answers pass through it as bytes.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import connection as channels
from pathlib import Path
from typing import Any, TypeAlias

Told: TypeAlias = tuple[str, Any]
"""What a task tells: `answer` and its pickled bytes, `died` and the status, `unopened` or `refused` and why."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from demur.pipeline.run.helper import serve; serve(int(sys.argv[1]))"
)

_DYING = 10.0
"""Seconds that a process may take to end once its end of the pipe is closed; it may be writing its core."""


@dataclass(frozen=True, kw_only=True)
class Post:
    """What every task of a run is told besides its shard.

    Attributes:
        key: of this run.
        threads: of the model.
        build: versions of what must be the same everywhere.
        path: where the process that leads the run finds modules.
        folder: where it works, to which relative addresses are relative.
    """

    key: str
    threads: int
    build: Mapping[str, str]
    path: Sequence[str]
    folder: str


class Child:
    """The process that measures for a worker."""

    def __init__(self, post: Post, devices: str | None) -> None:
        self.key = (post.key, devices)
        ours, theirs = channels.Pipe()
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(post.threads))}
        words = [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), json.dumps(_paths(post.path))]
        folder = post.folder if Path(post.folder).is_dir() else None
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a line of this file
            words, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, cwd=folder
        )
        theirs.close()
        self._channel: channels.Connection[Any, Any] = ours

    def ask(self, what: bytes) -> bytes | None:
        """Send it something pickled and wait for its pickled answer; None where it ended."""
        try:
            self._channel.send_bytes(what)
            return self._channel.recv_bytes()
        except (EOFError, OSError):
            return None

    def status(self) -> int | None:
        """How one that gave no answer ended; None where it lives, and what it says is not to be understood."""
        try:
            return self._process.wait(_DYING)
        except subprocess.TimeoutExpired:
            self.end()
            return None

    def end(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._channel.close()


_CHILDREN = list[Child]()
"""The one of this worker, if it has one."""


def measure(post: Post, opening: Callable[[], Sequence[bytes]], work: bytes) -> Told:
    """Measure a shard in this worker's own process, which is started where there is none for this run.

    Args:
        post: what every task is told.
        opening: what such a process is asked first: threads and a duty, then to open its job; pickled.
        work: the shard, pickled.
    """
    own = builds()
    if own != post.build:
        other = [name for name in own if own[name] != post.build[name]]
        return "refused", "has " + ", ".join(f"{name} {own[name]}, not {post.build[name]}" for name in other)
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not _CHILDREN or _CHILDREN[0].key != (post.key, devices):
        _end_child()
        why = _opening_failure(Child(post, devices), opening())
        if why is not None:
            return why
    found = _CHILDREN[0].ask(work)
    if found is not None:
        return "answer", found
    status = _CHILDREN[0].status()
    _end_child()
    return "died", status


def _opening_failure(child: Child, opening: Sequence[bytes]) -> Told | None:
    """Keep a process that has the job; why it has none."""
    _CHILDREN.append(child)
    for asked in opening:
        answer = child.ask(asked)
        if answer is None:
            told = "lost", f"its process ended with status {child.status()} before it began"
        elif (why := pickle.loads(answer)) in {"ready", None}:  # noqa: S301 - of the process that this one started
            continue
        else:
            told = "unopened", str(why)
        _end_child()
        return told
    return None


def _end_child() -> None:
    while _CHILDREN:
        _CHILDREN.pop().end()


@cache
def builds() -> dict[str, str]:
    """Versions that must be the same in every process of a run, for its rows to be those of one process."""
    return {"python": ".".join(map(str, sys.version_info[:2])), **{name: _version(name) for name in _PACKAGES}}


_PACKAGES = ("demur", "torch", "numpy", "polars")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _paths(others: Sequence[str]) -> list[str]:
    """Where the process finds modules: as this one, without Ray's own copies, and where the run's leader does."""
    own = [path for path in sys.path if "thirdparty_files" not in path]
    return [*own, *(path for path in others if path not in own)]
