"""Alarms that stay once they are raised, until someone puts them back with a reason."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from demur.alarms.alarm_store import AlarmStore
from demur.errors import InputError, brief, legible, unknown

ALARMS = ("workload", "harm")
NAMES = (*ALARMS, "martingale")


def day_and_time(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Latch:
    """The highest evidence, and when it reached the threshold: seconds since 1970 and the units until then."""

    highest: float = 0.0
    since: float | None = None
    at: int | None = None


class Latches:
    """The latches of workload, harm and martingale."""

    def __init__(self, store: AlarmStore, alpha: float) -> None:
        self._store, self._threshold = store, 1 / alpha
        kept = store.facts().get("latches", {})
        self._latches = {name: Latch(**kept.get(name, {})) for name in NAMES}

    def __getitem__(self, name: str) -> Latch:
        return self._latches[name]

    def look(self, name: str, evidence: float, units: int, now: float) -> None:
        """Compare evidence with the threshold; an alarm that is raised is written to the log."""
        before = self._latches[name]
        after = replace(before, highest=max(before.highest, evidence))
        if before.since is None and evidence >= self._threshold:
            after = replace(after, since=now, at=units)
            self._log(now, "raised", name, f"evidence {evidence:.6g} after {units} units")
        self._latches[name] = after

    def put_back(self, name: str, reason: str, now: float) -> None:
        """Begin anew, for a reason that is kept.

        Raises:
            InputError: there is no such alarm, it is quiet, or there is no reason.
        """
        if name not in ALARMS:
            raise unknown("alarm", str(name), ALARMS)
        if not isinstance(reason, str) or not reason.strip() or len(reason) > 1000:
            raise InputError(f"an alarm is reset with a reason, 1 to 1,000 characters; got {reason!r:.80}. Say why.")
        if self._latches[name].since is None:
            raise InputError(f"the {name} alarm is quiet, so that there is nothing to reset.")
        self._log(now, "reset", name, reason)
        self._latches[name] = Latch()

    def keep(self) -> None:
        """Write the latches down."""
        self._store.keep_facts({"latches": {name: asdict(latch) for name, latch in self._latches.items()}})

    def resets(self) -> tuple[Mapping[str, str], ...]:
        """Alarms that were put back: which, when, why."""
        rows: list[tuple[Any, ...]] = self._store.rows(
            "SELECT time, alarm, detail FROM log WHERE event = 'reset' ORDER BY line"
        )
        return tuple({"alarm": alarm, "time": day_and_time(time), "reason": detail} for time, alarm, detail in rows)

    def _log(self, now: float, event: str, name: str, detail: str) -> None:
        text = legible(detail) if event == "reset" else brief(detail)
        self._store.execute("INSERT INTO log VALUES (NULL, ?, ?, ?, ?)", (now, event, name, text))
