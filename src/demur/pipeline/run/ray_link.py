"""The way from an audit to the process that speaks with Ray: what is sent never waits, what comes is bounded."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing import connection as channels
from typing import Any

from demur.pipeline.run.ray_broker import Need

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from demur.pipeline.run.ray_broker import serve; serve(int(sys.argv[1]))"
)

_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "180", "RAY_worker_niceness": "0"}
"""Nothing is reported to anybody; and on a busy machine a node may take more than half a minute to start, and workers,
which Ray makes nice by 15, would get nothing."""

_KEPT = 64
"""What is taken in ahead of whoever asks; the rest stays in Ray, which has disks for it."""

_ENDING = 20.0
"""Seconds that Ray may take to end."""


class RayLink:
    """The process that speaks with Ray, and a thread that hears it.

    It is in a session of its own, for an interruption from the terminal is not for Ray; it ends with its pipe.
    """

    def __init__(self, need: Need) -> None:
        ours, theirs = channels.Pipe()
        self._channel: channels.Connection[Any, Any] = ours
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the link
        words = [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), json.dumps(sys.path)]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a line of this file
            words,
            pass_fds=[theirs.fileno()],
            env={**_RAY, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        theirs.close()
        self._heard: queue.Queue[tuple[Any, ...] | None] = queue.Queue(_KEPT)
        self._closed = False
        self.send(need)
        self._ear = threading.Thread(target=self._hear, daemon=True)
        self._ear.start()

    def send(self, what: object) -> None:
        """Send something; what cannot be sent is told of by `message`."""
        with suppress(OSError):
            self._channel.send(what)

    def message(self, *, wait: bool = True) -> tuple[Any, ...] | None:
        """The next that it tells, nothing where there is none yet; None once it has ended."""
        try:
            found = self._heard.get(block=wait)
        except queue.Empty:
            return ()
        if found is None:
            self._heard.put(None)
        return found

    def _hear(self) -> None:
        while True:
            try:
                what = self._channel.recv()
            except (EOFError, OSError):
                what = None
            if not self._closed:
                self._heard.put(what)
            if what is None:
                return

    def last_words(self) -> str:
        """The last line that Ray printed."""
        self._log.seek(0)
        lines = self._log.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        return lines[-1][-300:].strip(" .") if lines else "it ended and said nothing"

    def close(self) -> None:
        """End it, and whatever it started."""
        self._closed = True
        self.send(None)
        until = time.monotonic() + _ENDING
        while self._ear.is_alive() and time.monotonic() < until:
            with suppress(queue.Empty):
                self._heard.get(timeout=0.05)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.1, until - time.monotonic()))
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._ear.join()
        self._channel.close()
        self._log.close()
