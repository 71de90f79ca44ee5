"""How long each start of a run took, and each shard and step of it: lines that are only added, of no result a part.

A line says which start it is of, and how long that had been going on. So what a run took is the sum over its starts, of
one that was killed up to its last line, and a run that was merged of parts has their lines beside its own.
"""

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from demur.files import append_line, json_lines

TIMES = "timings/times.jsonl"
"""A line each; of what was done again there are several."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of a run.

    Attributes:
        name: that no other start has.
        began: when, by the clock of this process.
        spent: seconds of the processor that this process had used before, less what others used for it since.
    """

    name: str
    began: float
    spent: float

    @classmethod
    def now(cls) -> "Start":
        """One that begins."""
        return cls(name=uuid4().hex[:16], began=time.monotonic(), spent=time.process_time())

    def with_others(self, seconds: float) -> "Start":
        """The same where other processes used so many seconds of the processor for it."""
        return replace(self, spent=self.spent - seconds)

    @property
    def seconds(self) -> float:
        """How long it goes on."""
        return time.monotonic() - self.began


@dataclass(frozen=True)
class RunTimes:
    """The times of a run, to which those of one start are added.

    Attributes:
        run: the folder.
        start: whose times are noted.
    """

    run: Path
    start: Start

    def note(self, name: str, seconds: float, cpu: float) -> None:
        """Note how long a shard or a step took, and of the processor."""
        line = {"name": name, "seconds": round(seconds, 3), "cpu": round(cpu, 3)}
        start = {"start": self.start.name, "since": round(self.start.seconds, 3)}
        append_line(self.run / TIMES, json.dumps(line | start))

    def note_beginning(self) -> None:
        """Note what this start took until now: to read the images, to load the model and to try it."""
        self.note("beginning", self.start.seconds, time.process_time() - self.start.spent)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Note how long what is done inside takes this process, even if it is broken off."""
        begun, spent = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            self.note(name, time.monotonic() - begun, time.process_time() - spent)

    @contextmanager
    def of_what_is_broken_off(self, name: str) -> Iterator[None]:
        """The same of what is noted elsewhere once it is done."""
        begun, spent = time.monotonic(), time.process_time()
        try:
            yield
        except BaseException:
            self.note(name, time.monotonic() - begun, time.process_time() - spent)
            raise

    def adopt(self, part: Path, shards: Collection[str]) -> None:
        """Take over the times of another folder that are not there yet.

        Those of earlier versions, which name no start, are of some `shards` alone.
        """
        lines = json_lines(self.run / TIMES)
        there, untold = set(map(_key, lines)), set(shards) - {str(each.get("name")) for each in lines}
        for each in json_lines(part / TIMES):
            new = _key(each) not in there if "start" in each else each.get("name") in untold
            if new:
                append_line(self.run / TIMES, json.dumps(each))


def _key(line: dict[str, object]) -> tuple[str, ...]:
    return tuple(str(line.get(name)) for name in ("start", "name", "since"))
