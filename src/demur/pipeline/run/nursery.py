"""A process that has imported everything and starts helpers, so that one more costs little.

It is started anew rather than forked, for threads do not survive a fork, and by a command of its own rather than by
`multiprocessing`, which would run the user's script again. It has no job and computes nothing, so that what it forks
begins as a new process would. Helpers end with it, and it with the process that asked for them.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

from demur.pipeline.run.own_process import command, environment, is_helping

_ONE, _TWO = struct.Struct("q"), struct.Struct("qq")

_TICK = 0.005


@dataclass(eq=False)
class Child:
    """A process that a nursery started.

    Attributes:
        pid: its number.
        nursery: whose it is.
        returncode: its status, minus the signal that ended it; None while it lives.
    """

    pid: int
    nursery: "Nursery"
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its status, if it has ended."""
        if self.returncode is None:
            self.returncode = self.nursery.status(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Its status, as soon as it has ended; None where it lives on after so many seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None and (until is None or time.monotonic() < until):
            time.sleep(_TICK)
        return self.returncode

    def kill(self) -> None:
        """End it now."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """Starts helpers of so many threads, as soon as one is asked for."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._statuses: dict[int, int] = {}
        self._closed = False

    def child(self) -> tuple[Child, "Connection[Any, Any]"]:
        """A new helper, and the way to it.

        Raises:
            OSError: the machine starts no process.
        """
        ours, theirs = Pipe()
        try:
            with self._turn:
                (pid,) = _ONE.unpack(self._answer(0, theirs.fileno(), _ONE.size))
                self._statuses.pop(pid, None)  # of one that had the number before
        finally:
            theirs.close()
        return Child(pid, self), ours

    def status(self, pid: int) -> int | None:
        """How a child ended; None where it has not. One whose nursery is gone is taken to be killed with it."""
        with self._turn:
            if pid not in self._statuses:
                try:
                    ended, status = _TWO.unpack(self._answer(pid, None, _TWO.size))
                except OSError:
                    ended, status = pid, -signal.SIGKILL
                if not ended:
                    return None
                self._statuses[pid] = status
            return self._statuses[pid]

    def close(self) -> None:
        """End it, and every helper that is left with it; whoever waits for one gets none."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        with self._turn:
            self._end()

    def _answer(self, number: int, handle: int | None, size: int) -> bytes:
        """Ask the process, which is started for a helper if it is not there."""
        if handle is not None and (self._process is None or self._process.poll() is not None):
            self._start()
        if self._line is None:
            raise OSError("there is no process that starts helpers")
        try:
            socket.send_fds(self._line, [_ONE.pack(number)], [] if handle is None else [handle])
            found = self._line.recv(size, socket.MSG_WAITALL)
        except OSError:
            self._end()
            raise
        if len(found) < size:
            self._end()
            raise OSError("the process that starts helpers ended")
        return found

    def _start(self) -> None:
        if is_helping():
            raise OSError("a process that helps another starts none")
        self._end()
        ours, theirs = socket.socketpair()
        words = command("demur.pipeline.run.nursery.tend", theirs.fileno(), sys.path)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a function of this file
                words, pass_fds=[theirs.fileno()], env=environment(self.threads), stdin=subprocess.DEVNULL
            )
        self._line = ours
        if self._closed:
            self._end()
            raise OSError("no helper is started at the end")

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._line = self._process = None


def tend(descriptor: int) -> None:
    """Answer at a socket: to 0 and a handle with the number of a new helper, to a number with whether and how it ended.

    An interruption from the terminal is left to the process that asks.
    """
    from demur.pipeline.run.helper import serve

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
    line = socket.socket(fileno=descriptor)
    while True:
        try:
            asked, handles, _, _ = socket.recv_fds(line, _ONE.size, 1)
        except OSError:  # who asks was killed before it read the last answer
            asked = b""
        if len(asked) < _ONE.size:
            os._exit(0)
        if not handles:
            _tell(line, _TWO.pack(*_ended(*_ONE.unpack(asked))))
            continue
        pid = os.fork()
        if not pid:
            line.close()
            _served(serve, handles[0])
        os.close(handles[0])
        _tell(line, _ONE.pack(pid), pid)


def _tell(line: socket.socket, answer: bytes, pid: int | None = None) -> None:
    """Answer; where who asked was killed meanwhile, this ends, and with it the helper that nobody knows of."""
    try:
        line.sendall(answer)
    except OSError:
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _served(serve: Any, handle: int) -> None:
    status = 1
    try:
        serve(handle)
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _ended(pid: int) -> tuple[int, int]:
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # of a process before this one, with which it was ended
        return pid, -signal.SIGKILL
    return found, os.waitstatus_to_exitcode(status) if found else 0
