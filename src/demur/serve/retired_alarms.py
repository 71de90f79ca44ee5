"""The alarms of guards that another took the place of: who was asked for a label can still give it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from demur.serve.alarm_watch import GuardAlarms

MOST = 8
"""Guards whose alarms are kept; with one more the oldest are let go."""


@dataclass(eq=False)
class _Kept:
    """Alarms, and when all their questions are overdue, by the clock that only goes forward; None while it decides."""

    alarms: GuardAlarms
    until: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody needs them: every question is answered or overdue, and whoever must know was told."""
        found = self.alarms.alarms
        if self.until is None or self.alarms.fresh or found is None:
            return False
        return time.monotonic() >= self.until or not found.pending(1)


class RetiredAlarms:
    """Alarms that are kept for feedback until their questions are answered or overdue; from any thread."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._kept = list[_Kept]()

    @property
    def all(self) -> Sequence[GuardAlarms]:
        """Those that are kept, the oldest first."""
        with self._turn:
            return [each.alarms for each in self._kept]

    def take(self, name: str, sha256: str) -> GuardAlarms | None:
        """Those of a guard that comes back, which go on where they were."""
        with self._turn:
            found = [each for each in self._kept if _of(each.alarms) == (name, sha256)]
            self._kept = [each for each in self._kept if each not in found]
        return found[0].alarms if found else None

    def add(self, alarms: GuardAlarms) -> None:
        """Keep alarms of a guard that is asked no more, and may still be deciding."""
        if alarms.alarms is not None:
            with self._turn:
                self._kept.append(_Kept(alarms))

    def settle(self, alarms: GuardAlarms) -> None:
        """All that was admitted is decided: from here on they are let go once nobody needs them."""
        with self._turn:
            for each in self._kept:
                if each.alarms is alarms and alarms.alarms is not None:
                    each.until = time.monotonic() + alarms.alarms.plan.patience
            self._leave(self._kept[:-MOST])

    def tidy(self) -> None:
        """Let go of those that nobody needs."""
        with self._turn:
            self._leave([each for each in self._kept if each.is_over])

    def _leave(self, those: Sequence[_Kept]) -> None:
        for each in those:
            each.alarms.close()
        self._kept = [each for each in self._kept if each not in those]


def _of(alarms: GuardAlarms) -> tuple[str, str]:
    return alarms.loaded.name, alarms.loaded.sha256
