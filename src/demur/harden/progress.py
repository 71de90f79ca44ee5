"""What a training tells whoever waits for it."""

from typing import Protocol


class Progress(Protocol):
    """Told about images learned from, of all there will be."""

    def start(self, rows: int) -> None:
        """The whole work, in images times epochs."""

    def advance(self, rows: int, what: str) -> None:
        """Some of it is done."""

    def say(self, what: str) -> None:
        """Something else is being done."""


class Quiet:
    """Nobody is waiting."""

    def start(self, rows: int) -> None:
        """Not told."""

    def advance(self, rows: int, what: str) -> None:
        """Not told."""

    def say(self, what: str) -> None:
        """Not told."""
