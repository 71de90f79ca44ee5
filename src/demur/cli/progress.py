"""Progress on stderr: a bar with the time left in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from demur.audit.loop import Progress

_EVERY = 10.0
"""Seconds between two plain lines."""


@contextmanager
def shown_progress() -> Iterator["Progress"]:
    """A progress display that suits stderr."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(24),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield Bar(shown)


class Bar:
    """A moving bar."""

    def __init__(self, shown: "RichProgress") -> None:
        self._shown = shown
        self._task = shown.add_task("starting", total=None)

    def start(self, rows: int) -> None:
        """Begin counting."""
        self._shown.reset(self._task, total=rows)

    def advance(self, rows: int, what: str) -> None:
        """Count on."""
        self._shown.update(self._task, advance=rows, description=what)

    def say(self, what: str) -> None:
        """Tell what is being done."""
        self._shown.update(self._task, description=what)


class Lines:
    """A line now and then, for logs."""

    def __init__(self) -> None:
        self._rows = self._done = 0
        self._began = self._said = time.monotonic()

    def start(self, rows: int) -> None:
        """Begin counting."""
        self._rows, self._began = rows, time.monotonic()

    def advance(self, rows: int, what: str) -> None:
        """Count on, and say so if it has been quiet for a while."""
        self._done += rows
        now = time.monotonic()
        if now - self._said >= _EVERY:
            self._said = now
            left = (now - self._began) / self._done * (self._rows - self._done)
            print(f"{self._done / self._rows:4.0%}  about {left:.0f} s left  {what}", file=sys.stderr, flush=True)

    def say(self, what: str) -> None:
        """Tell what is being done."""
        print(what, file=sys.stderr, flush=True)
