"""What a process is at, so that the next one knows what it died of.

A few words in the run folder, written before something is measured and taken away after it. They are not flushed to the
disk, which costs more than what most of them are about: a process that dies loses none of them, and of a machine that
dies nothing follows about a row. What Python knows of a fatal signal, with the line of code, stands beside them.
"""

import faulthandler
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

AT, CRASH = "at.json", "crash.txt"

_SHARD = re.compile(r"c\d+-s\d+")
_LONGEST = 4_000
_SIGNALS = {
    "Segmentation fault": "SIGSEGV",
    "Aborted": "SIGABRT",
    "Bus error": "SIGBUS",
    "Illegal instruction": "SIGILL",
    "Floating point exception": "SIGFPE",
    "Floating-point exception": "SIGFPE",
}


@dataclass(frozen=True, kw_only=True)
class Death:
    """What a process was at when it ended without a word.

    Attributes:
        what: the name of a shard, or what is said of a step.
        times: processes that died at it, one after the other.
        by: the signal, where it was one that Python could still tell of; empty after SIGKILL or a power cut.
        trace: the lines of code, where they are known.
    """

    what: str
    times: int
    by: str = ""
    trace: str = ""

    @property
    def at_shard(self) -> bool:
        """Whether it was at a shard."""
        return _SHARD.fullmatch(self.what) is not None

    @property
    def suspicious(self) -> bool:
        """Whether what it was at may be the cause: by a fatal signal, or not for the first time."""
        return bool(self.by) or self.times > 1

    @property
    def how(self) -> str:
        """Such as "ended by SIGSEGV"."""
        return f"ended by {self.by}" if self.by else "ended without a word, as when it is killed for want of memory"


class Flight:
    """Keeps what this process is at in a run folder, which is locked or about to be.

    Attributes:
        folder: where.
        death: what the process before this one died at; None where it did not.
        careful: whether shards are measured in other processes only, since one died here of what it measured.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._at, self._crash = folder, folder / AT, folder / CRASH
        before = _read(self._at)
        self.death = _death(before, _text(self._crash))
        if self.death is not None and self.death.by:  # the trace goes as soon as this process has its own
            with suppress(OSError):
                self._at.write_text(json.dumps({**before, "by": self.death.by}))
        own = self.death is not None and self.death.at_shard and self.death.suspicious
        self.careful = bool(before.get("careful")) or own

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, fatal signals leave the line of code; after it nothing is in flight, unless the process died."""
        try:
            with _faults(self._crash):
                yield
            self._at.unlink(missing_ok=True)
        finally:
            self._crash.unlink(missing_ok=True)

    @contextmanager
    def at(self, what: str) -> Iterator[None]:
        """Inside, this is what the process is at."""
        before = 0 if self.death is None or self.death.what != what else self.death.times
        self._write(what=what, times=before + 1)
        try:
            yield
        finally:
            self._write(what=None)

    def landed(self, *, careful: bool = False) -> None:
        """What the process before died at is no longer to be suspected; go on with care, if so."""
        self.death, self.careful = None, self.careful or careful
        self._write(what=None)

    def _write(self, *, what: str | None, times: int = 0) -> None:
        with suppress(OSError):  # a full disk is told of by whatever must be written
            if what is None and not self.careful:
                self._at.unlink(missing_ok=True)
            else:
                self._at.write_text(json.dumps({"what": what, "times": times, "careful": self.careful}))


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")[:_LONGEST]
    except OSError:
        return ""


def _death(before: dict[str, object], trace: str) -> Death | None:
    what, times = before.get("what"), before.get("times")
    if not isinstance(what, str) or not isinstance(times, int):
        return None
    said = trace.partition("\n")[0].removeprefix("Fatal Python error: ")
    by = next((name for words, name in _SIGNALS.items() if said.startswith(words)), "")
    return Death(what=what, times=times, by=by or str(before.get("by", "")), trace=trace if by else "")


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Where Python writes what it knows of a fatal signal; whoever has asked for that elsewhere keeps it."""
    if faulthandler.is_enabled():
        yield
        return
    try:
        file: IO[str] = path.open("w")
    except OSError:
        yield
        return
    with file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
