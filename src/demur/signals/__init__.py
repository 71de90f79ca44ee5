"""Signals: evidence in, one float64 score per image out; higher = more doubt, for all."""

from typing import ClassVar, Protocol

from demur.evidence import Evidence
from demur.shapes import Scores


class Signal(Protocol):
    """A frozen dataclass whose `__call__` is its formula; it scores each row alone.

    The first line of its docstring says what it is and when it is high, and is quoted in reports; `unit` names the
    scale.
    """

    unit: ClassVar[str]

    def __call__(self, seen: Evidence) -> Scores:
        """One score per row, float64."""
        ...
