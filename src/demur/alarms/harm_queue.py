"""Labels in the order of their questions, whatever order they come in: what the bets on wrong answers may see."""

from collections.abc import Sequence

import numpy as np

from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_store import AlarmStore
from demur.alarms.betting_process import Wealth

_AT_ONCE = 500
"""Units that are bet on in one call, so that it is short; the rest follow with the next ones."""

_AHEAD = 20_000
"""Questions that are looked at beyond the first one that waits."""


class HarmQueue:
    """The units of the harm alarm in the order of their questions: images, or sequences in the order they began.

    A unit is bet on when its labels are there, or overdue and a later unit has one; what is missing then counts as
    right, and a label that comes later still is kept, not tested. Where labels beyond a unit that waits are there, the
    fixed bets tell what they have at least, all that waits being right.
    """

    def __init__(self, plan: AlarmPlan, store: AlarmStore) -> None:
        self._plan, self._store = plan, store
        kept = store.facts().get("harm queue", {})
        self.passed: int = kept.get("passed", 0)
        self.newest: int = kept.get("newest", 0)

    def keep(self) -> None:
        """Write down how far it is."""
        self._store.keep_facts({"harm queue": {"passed": self.passed, "newest": self.newest}})

    def key(self, question: int | None, unit: int | None) -> int | None:
        """Where in the queue a question stands; None where it is not tested."""
        key = question if self._plan.group == "image" else unit
        return None if question is None or key is None or key <= self.passed else key

    def note(self, key: int) -> None:
        """A label is there."""
        self.newest = max(self.newest, key)

    def begin_anew(self, key: int) -> None:
        """Leave out everything up to a question or sequence."""
        self.passed = self.newest = key

    def take(self, now: float) -> Sequence[tuple[float, float]]:
        """The wrong shares and weights of the units that are next, which are passed."""
        found = self.due(now)
        self.passed += len(found)
        return found

    def due(self, now: float) -> Sequence[tuple[float, float]]:
        """The wrong shares and weights of the units that can be bet on by now, in their order."""
        if self.newest <= self.passed:
            return []
        return self._images_due(now) if self._plan.group == "image" else self._sequences_due(now)

    def least(self, wealth: Wealth) -> float:
        """A lower bound on the wealth after the newest label, all that waits being right."""
        if self.newest <= self.passed:
            return 0.0
        if self._plan.group == "image":
            shares = self._images(min(self.newest, self.passed + _AHEAD))
            return wealth.least_after(shares, np.ones_like(shares))
        rows = self._sequences(0.0)
        # the rest of an open sequence may be right answers, as many as can be asked about
        parts = [(wrong / max(1, n), n / most) if ended else (wrong / most, 1.0) for ended, most, n, wrong, _ in rows]
        return wealth.least_after(*(np.array(part, np.float64) for part in zip(*parts, strict=True)))

    def _images_due(self, now: float) -> Sequence[tuple[float, float]]:
        waiting = self._store.rows(
            "SELECT question FROM images WHERE question IS NOT NULL AND correct IS NULL AND question > ? AND time >= ? "
            "ORDER BY question LIMIT 1",
            (self.passed, now - self._plan.patience),
        )
        last = min(self.newest, waiting[0][0] - 1 if waiting else self.newest, self.passed + _AT_ONCE)
        return [(float(share), 1.0) for share in self._images(last)]

    def _images(self, last: int) -> np.ndarray:
        """The wrong shares of the questions after those that are passed; of what is not told, 0."""
        shares = np.zeros(max(0, last - self.passed))
        for question, correct in self._store.rows(
            "SELECT question, correct FROM images WHERE question IS NOT NULL AND correct IS NOT NULL "
            "AND question > ? AND question <= ?",
            (self.passed, last),
        ):
            shares[question - self.passed - 1] = 1 - correct
        return shares

    def _sequences_due(self, now: float) -> Sequence[tuple[float, float]]:
        found = []
        for ended, most, n, wrong, waiting in self._sequences(now):
            if waiting or not ended:
                break
            found.append((wrong / max(1, n), n / most))
        return found

    def _sequences(self, now: float) -> Sequence[tuple[bool, int, int, int, int]]:
        """Of each: whether it is over, how many questions it may have and has, wrong answers and labels awaited."""
        return [
            (bool(ended), max(1, most), n, *self._labels(unit, now))
            for unit, ended, most, n in self._store.rows(
                "SELECT unit, ended, most, questions FROM units WHERE unit > ? AND unit <= ? ORDER BY unit LIMIT ?",
                (self.passed, self.newest, _AT_ONCE),
            )
        ]

    def _labels(self, unit: int, now: float) -> tuple[int, int]:
        wrong, waiting = self._store.rows(
            "SELECT total(correct = 0), total(correct IS NULL AND time >= ?) FROM images WHERE unit = ? "
            "AND question IS NOT NULL",
            (now - self._plan.patience, unit),
        )[0]
        return round(wrong), round(waiting)
