"""The alarms of one guard, with their state: images in, questions out; feedback in; a status at any time."""

from collections.abc import Sequence
from pathlib import Path
from threading import RLock

import numpy as np

from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_reference import Reference
from demur.alarms.alarm_status import Status
from demur.alarms.observations import Feedback, Observation, Question


class Alarms:
    """One guard's alarms; several threads may use them, and take turns.

    SKELETON: signatures stand, the tests behind them follow.
    """

    def __init__(self, reference: Reference, plan: AlarmPlan, guard_sha256: str, seed: int | None) -> None:
        self.reference, self.plan, self.guard_sha256 = reference, plan, guard_sha256
        self._dice, self._turn = np.random.default_rng(seed), RLock()

    @classmethod
    def open(
        cls,
        place: Path | None,
        reference: Reference,
        plan: AlarmPlan,
        *,
        guard_sha256: str,
        seed: int | None = None,
    ) -> "Alarms":
        """Alarms with the state in a SQLite file, or in memory alone where `place` is None."""
        raise NotImplementedError

    def observe(self, images: Sequence[Observation]) -> Sequence[Question | None]:
        """Decided images in the order they came; for each a question about it or none. What it returned is durable."""
        raise NotImplementedError

    def feedback(self, id: str, *, label: str | None = None, correct: bool | None = None) -> Feedback:  # noqa: A002
        """The right class of an image, or whether the answer was right.

        Raises:
            UnknownImageError: no such image (HTTP 404).
            ContradictionError: something else was said of it before (HTTP 409).
            InputError: neither or both of label and correct (HTTP 422).
        """
        raise NotImplementedError

    def status(self) -> Status:
        """What the alarms know now."""
        raise NotImplementedError

    def pending(self, limit: int = 100) -> Sequence[Question]:
        """Images that were asked about and not answered, the oldest first."""
        raise NotImplementedError

    def reset(self, alarm: str, reason: str) -> None:
        """Put a raised alarm back (`workload` or `harm`); its evidence begins anew and the reason is kept."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file."""
        raise NotImplementedError
