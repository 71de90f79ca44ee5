"""The alarms of the guards in service: what was decided goes in, questions come out, and whoever must know is told."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demur.alarms import AlarmPlan, Alarms, Observation, Question, Status, reference_of
from demur.errors import DemurError, InputError
from demur.guard import Decisions
from demur.serve.json_answers import plain
from demur.serve.micro_batches import Waiting
from demur.serve.served_guard import LoadedGuard

EVERY, ANYWAY = 1.0, 30.0
"""Seconds between two looks at what the alarms know, where something came meanwhile and where nothing did."""


@dataclass(eq=False)
class GuardAlarms:
    """The alarms of one guard; `alarms` is None where it can have none, and `reason` says why."""

    loaded: LoadedGuard
    alarms: Alarms | None
    reason: str = ""
    raised: frozenset[str] = frozenset()
    fresh: bool = True
    _status: Status | None = field(default=None, repr=False)
    _last: float = field(default=-ANYWAY, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def open(cls, loaded: LoadedGuard, plan: AlarmPlan, state: Path | None) -> "GuardAlarms":
        """With the state in a folder, a file for each guard, or in memory alone.

        Raises:
            InputError: the state there cannot be read, or is of another guard or plan.
        """
        try:
            reference = reference_of(loaded.folder)
        except DemurError as error:
            return cls(loaded, None, str(error))
        if state is not None:
            _make(state)
        place = None if state is None else state / f"{loaded.name}-{loaded.version}.sqlite"
        return cls(loaded, Alarms.open(place, reference, plan, guard_sha256=loaded.sha256))

    def observe(self, batch: Sequence[tuple[Waiting, Decisions]]) -> list[list[Question | None]]:
        """What the alarms ask about each image of each request."""
        if self.alarms is None:
            return [[None] * len(each) for each, _ in batch]
        signal = self.loaded.guard.policy.signals[0]
        images = [image for each, decisions in batch for image in _observations(each, decisions, signal)]
        rest = iter(self.alarms.observe(images))
        self.fresh = True
        return [[next(rest) for _ in range(len(each))] for each, _ in batch]

    def reset(self, alarm: str, reason: str) -> None:
        """Put a raised alarm back, so that it is told of when it is raised again; nothing where there are none.

        Raises:
            InputError: there is no such alarm, it is quiet, or there is no reason.
            RunError: the state cannot be written.
        """
        if self.alarms is None:
            return
        with self._turn:
            self.alarms.reset(alarm, reason)
            self.raised -= {alarm}
            self.fresh = True

    @property
    def last(self) -> Status | None:
        """What they knew at the last look, which costs nothing."""
        return self._status

    def look(self) -> Sequence[str]:
        """Which alarms were raised since the last look.

        Raises:
            RunError: the state cannot be read or written; the next look finds what this one did not.
        """
        began = time.monotonic()
        if self.alarms is None or not (self.fresh or began - self._last >= ANYWAY):
            return ()
        with self._turn:
            self.fresh = False
            try:
                self._status = self.alarms.status()
            except BaseException:
                self.fresh = True
                raise
            self._last = began
            now = frozenset(self._status.alarmed)
            found, self.raised = sorted(now - self.raised), now
            return found

    def close(self) -> None:
        """Let go of the file."""
        if self.alarms is not None:
            self.alarms.close()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the state of alarms cannot be kept in {folder}: {error.strerror or error}. Name another by --state."
        ) from None


def _observations(each: Waiting, decisions: Decisions, signal: str) -> list[Observation]:
    ids, sequence = each.tag
    rows = zip(
        ids, decisions.accepted.tolist(), decisions.reasons.tolist(), decisions.scores[signal].tolist(),
        decisions.labels, strict=True,
    )  # fmt: skip
    return [
        Observation(image, accepted, reason, score, label, sequence) for image, accepted, reason, score, label in rows
    ]


class AlarmWatch:
    """Looks at the alarms once a second, from a thread of its own, and tells of those that were raised.

    Args:
        guards: tells whose alarms there are.
        tell: is given a message of JSON values for each alarm that was raised; one that was so at the start, too.
        fault: is told of alarms that could not be looked at, and why; the others are, and these the next time.
    """

    def __init__(
        self,
        guards: Callable[[], Sequence[GuardAlarms]],
        tell: Callable[[dict[str, Any]], None],
        fault: Callable[[GuardAlarms, Exception], None],
    ) -> None:
        self._guards, self._tell, self._fault = guards, tell, fault
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look at all of them now."""
        for each in self._guards():
            self.look_at(each)

    def look_at(self, each: GuardAlarms) -> None:
        """Look at the alarms of one guard now."""
        try:
            for name in each.look():
                self._tell(message_of(each, name))
        except Exception as error:  # noqa: BLE001 - the watch goes on: a disk may be full for a while
            self._fault(each, error)

    def close(self) -> None:
        """Look once more, and end."""
        self._ended.set()
        self._thread.join()
        self.look()

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            self.look()


def message_of(each: GuardAlarms, name: str) -> dict[str, Any]:
    """What is told of an alarm."""
    status = each.last
    state = getattr(status, name)
    return {
        "event": "alarm",
        "alarm": name,
        "guard": each.loaded.name,
        "guard_sha256": each.loaded.sha256,
        "since": state.since,
        "sentence": state.sentence,
        "evidence": plain(state.evidence),
        "threshold": plain(state.threshold),
        "counts": dict(state.counts),
    }
