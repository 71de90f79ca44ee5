"""Images read by several processes before anything is measured: each reads parts, and the rows are those of one.

This process reads first, alone, and sees how long the rest would take: processes are started only where they are worth
it. What one of them cannot read, or dies of, this process reads itself, in its turn: so errors are those of one
process, and so is what follows a death.
"""

import pickle
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain

import torch

from demur.data import Source
from demur.data.kept_images import KeepingSource
from demur.data.scan import ScannedRow, ScannedRows, scan_of
from demur.pipeline.run.crew import Helper, cores
from demur.pipeline.run.helper import READY
from demur.pipeline.run.nursery import Nursery
from demur.pipeline.run.resources import Resources

_ROWS = 64
"""Images of a part: enough that asking costs little, few enough that nobody waits long for the last one."""

_ALONE = 2.0
"""Seconds after which this process sees how long the rest would take."""

_WORTH = 20.0
"""Seconds of work for which processes are started, which take four to eight to be of use."""

_EVERY = 10.0
"""Seconds between two sentences on how far it is."""


@dataclass(frozen=True)
class Scanning:
    """The duty to read parts of a source: positions in; their rows out, or nothing where one cannot be taken.

    Beside them the seconds of the processor that the process has used since it began.
    """

    source: Source
    labelled: bool

    def __call__(self, asked: range) -> tuple[Sequence[ScannedRow], float]:
        """The rows at some positions, and seconds."""
        rows: Sequence[ScannedRow] = ()
        with suppress(Exception):  # what it raises, it raises where they are read in their turn, too
            rows = list(scan_of(self.source, asked, labelled=self.labelled))
        return rows, time.process_time()


@dataclass(frozen=True)
class SharedScan:
    """Reads the rows of a source here, and in other processes where that is faster.

    Attributes:
        resources: how many processes there may be.
        say: told how far it is.
        spend: told at the end, of each other process, how many seconds of the processor it used.
    """

    resources: Resources
    say: Callable[[str], object]
    spend: Callable[[float], object] = float

    def __call__(self, source: Source, *, labelled: bool = True, positions: range | None = None) -> ScannedRows:
        """The rows at some positions, by default all, in their order.

        Raises:
            DataError: a label that is no class, or pixels outside [0, 1].
        """
        wanted = range(len(source)) if positions is None else positions
        with closing(self.parts(source, wanted, labelled=labelled)) as parts:
            return ScannedRows.of(chain.from_iterable(parts))

    def parts(self, source: Source, wanted: range, *, labelled: bool) -> Generator[Sequence[ScannedRow], None, None]:
        """The same in parts, as they are read; whoever leaves early closes it.

        Raises:
            DataError: a label that is no class, or pixels outside [0, 1].
        """
        tell, done = _Pace(len(wanted), self.say), 0
        while done < len(wanted) and (done < _ROWS or time.monotonic() - tell.began < _ALONE):
            rows = list(scan_of(source, wanted[done : done + _ROWS], labelled=labelled))
            done += len(rows)
            yield rows
        rest = wanted[done:]
        with self._shares(source, rest, tell.seconds(len(rest)), labelled=labelled) as parts:
            for each in parts:
                done += len(each)
                tell(done)
                yield each

    @contextmanager
    def _shares(
        self, source: Source, rest: range, seconds: float, *, labelled: bool
    ) -> Iterator[Iterator[Sequence[ScannedRow]]]:
        """The parts of the rest, in order, read here and by as many helpers as are worth it."""
        here = Scanning(source, labelled)
        parts = _Parts(here, [rest[start : start + _ROWS] for start in range(0, len(rest), _ROWS)])
        helpers = readers(self.resources, seconds) - 1
        duty = _duty(here) if helpers > 0 else None
        with ExitStack() as stack:
            if duty is not None:
                threads = self.resources.threads or torch.get_num_threads()
                stack.callback(lambda: [self.spend(seconds) for seconds in parts.seconds])
                stack.enter_context(_helping(parts, duty, helpers, threads))
            yield parts.in_order()


def readers(resources: Resources, seconds: float) -> int:
    """How many processes read images that take one so many seconds.

    Those of a cluster are elsewhere, so that their number says nothing of this machine.
    """
    if seconds < _WORTH:
        return 1
    wanted = resources.processes_for(seconds, cores())
    return wanted if resources.engine == "local" else min(wanted, cores())


def _duty(here: Scanning) -> bytes | None:
    """The duty as other processes have it; None where the source cannot be sent to any."""
    source = here.source.source if isinstance(here.source, KeepingSource) else here.source
    try:
        return pickle.dumps(Scanning(source, here.labelled))
    except Exception:  # noqa: BLE001 - an object that was given may raise anything; it is read here
        return None


class _Parts:
    """Parts to be read, shared out one after the other, what became of them, and what other processes used for it."""

    def __init__(self, here: Scanning, parts: Sequence[range]) -> None:
        self._here, self.parts = here, parts
        self._next, self._closed = 0, False
        self.seconds: list[float] = []
        self._answers: dict[int, Sequence[ScannedRow]] = {}
        self._turn = threading.Condition()

    def take(self) -> int | None:
        """The number of a part that nobody has taken yet."""
        with self._turn:
            if self._closed or self._next == len(self.parts):
                return None
            self._next += 1
            return self._next - 1

    def put(self, number: int, rows: Sequence[ScannedRow]) -> None:
        """What became of a part; no rows where it is to be read in its turn."""
        with self._turn:
            self._answers[number] = rows
            self._turn.notify_all()

    def close(self) -> None:
        """Nobody is to take another part."""
        with self._turn:
            self._closed = True

    def in_order(self) -> Iterator[Sequence[ScannedRow]]:
        """The rows of each part; this process reads meanwhile, as others do."""
        for number, positions in enumerate(self.parts):
            while number not in self._answers and (mine := self.take()) is not None:
                self.put(mine, self._here(self.parts[mine])[0])
            with self._turn:
                self._turn.wait_for(lambda at=number: at in self._answers)  # type: ignore[misc]  # bound at once
                rows = self._answers.pop(number)
            yield rows or list(scan_of(self._here.source, positions, labelled=self._here.labelled))


@contextmanager
def _helping(parts: _Parts, duty: bytes, helpers: int, threads: int) -> Iterator[None]:
    """Inside, so many helpers read parts; after it, or at an error, all of them are gone."""
    nursery, living = Nursery(threads), set[Helper]()
    turn, closed = threading.Lock(), threading.Event()

    def attend() -> None:
        with suppress(OSError):  # the machine starts no process, or this is closed
            helper = Helper.of(nursery)
            with turn:
                living.add(helper)
            if closed.is_set():  # while it was started
                helper.process.kill()
            _attend_one(helper, parts, duty, threads)
            with turn:
                living.discard(helper)
            helper.end()

    attendants = [threading.Thread(target=attend, daemon=True) for _ in range(helpers)]
    for attendant in attendants:
        attendant.start()
    try:
        yield
    finally:
        closed.set()
        parts.close()
        with turn:
            left = list(living)
        for helper in left:
            helper.process.kill()
        if not left:
            nursery.close()  # which may be about to start the first, and that takes long
        for attendant in attendants:
            attendant.join()
        nursery.close()


def _attend_one(helper: Helper, parts: _Parts, duty: bytes, threads: int) -> None:
    """Give a helper one part after the other, for as long as it answers."""
    if helper.ask((threads, duty)) != READY:
        return
    seconds = 0.0
    while (number := parts.take()) is not None:
        found = None
        try:
            found = helper.ask(parts.parts[number])
        finally:
            parts.put(number, found[0] if found else ())
        if found is None:
            break
        seconds = found[1]
    parts.seconds.append(seconds)


class _Pace:
    """How far the reading is, told now and then."""

    def __init__(self, rows: int, say: Callable[[str], object]) -> None:
        self.began = self._told = time.monotonic()
        self._rows, self._say = rows, say

    def __call__(self, done: int) -> None:
        """So many images are read."""
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            self._say(f"reading the images: {done:,} of {self._rows:,}")

    def seconds(self, left: int) -> float:
        """How long so many images would take here, at the pace so far."""
        done = self._rows - left
        return (time.monotonic() - self.began) / done * left if done else 0.0
