"""What each look at certify labels may spend of δ, so that asking again and again keeps one promise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from demur.errors import InputError
from demur.ledger import Inquiry, Ledger

FIRST = 0.9
"""The share of δ that the first look spends; all later ones share the rest."""

FOR_RISK = 0.9
"""The share of what a look spends that its risk tests have; its bound on coverage has the rest."""

Counted: TypeAlias = Literal["runs", "folder", "ledger", "caller", "nowhere"]

PLACES: Mapping[Counted, str] = {
    "runs": "counted in opened.jsonl beside the run folders",
    "folder": "counted in this run folder alone",
    "ledger": "counted in looks.jsonl, which keeps every test of these labels",
    "caller": "as the caller says",
    "nowhere": "not counted",
}
"""In words, where looks were counted."""


@dataclass(frozen=True)
class Look:
    """The k-th time that labels of one series decide on a guarantee, and where that was counted.

    Look 1 spends .9·δ and look k ≥ 2 spends .1·δ·6/(π²·(k − 1)²), which sum to δ however many follow. Nine tenths of it
    are the level of the risk tests and one tenth that of the bound on coverage. An identical repeat is the same look.
    """

    number: int = 1
    counted: Counted = "nowhere"

    def __post_init__(self) -> None:
        if isinstance(self.number, bool) or not isinstance(self.number, int) or self.number < 1:
            raise InputError(
                f"a look is numbered from 1: the first test of these labels is 1, the next 2; got {self.number!r}."
            )
        if self.counted not in PLACES:
            raise InputError(f"where a look was counted must be one of {', '.join(PLACES)}; got {self.counted!r}.")

    def spent(self, delta: float) -> float:
        """What this look may spend of `delta`.

        >>> [round(Look(number).spent(0.05), 5) for number in (1, 2, 3)]
        [0.045, 0.00304, 0.00076]
        """
        later = self.number - 1
        return FIRST * delta if not later else (1 - FIRST) * delta * 6 / (math.pi * later) ** 2

    def risk_level(self, delta: float) -> float:
        """The level that all risk tests of this look have together."""
        return FOR_RISK * self.spent(delta)

    def coverage_level(self, delta: float) -> float:
        """The level of the bound on coverage."""
        return self.spent(delta) - self.risk_level(delta)

    @property
    def next(self) -> "Look":
        """The look that comes after this one in its series."""
        return Look(self.number + 1, self.counted)

    @property
    def sentence(self) -> str:
        """Which look it is and where that was counted."""
        return f"look {self.number:,} at these labels, {PLACES[self.counted]}"


FIRST_LOOK = Look()


def count_look(ledger: Path, inquiry: Inquiry, statement: str) -> Look:
    """Which look at these labels a test is, by a ledger beside its table or wherever; noted down if it is new.

    An identical repeat is the same look. Two at once are told apart by the place of their lines.

    Args:
        ledger: a file of lines of JSON, made if it is not there; the ids of rows lie in a hidden folder beside it.
        inquiry: the certify rows, the model or scores, the signals and the procedure.
        statement: what is to be guaranteed, such as `certified(risk=0.02)`.

    Raises:
        RunError: the ledger is damaged, or cannot be written.
    """
    (number,) = Ledger(ledger).numbers(inquiry, [statement])
    return Look(number, "ledger")
