"""What the alarms of a guard know at a moment, as JSON values and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["quiet", "alarm"]


@dataclass(frozen=True, kw_only=True)
class AlarmState:
    """One alarm, or the information beside them.

    Attributes:
        state: `alarm` from the moment that evidence reaches the threshold until someone resets it.
        evidence: the value of the e-process now: what a bettor against "all is well" has made of a stake of 1.
        highest: the largest value it had.
        threshold: 1/alpha.
        since: when the alarm was raised, ISO 8601 in UTC; None while it is quiet.
        at: after how many units it was raised; None while it is quiet.
        counts: what it rests on.
        sentence: the same in words.
        void: why it cannot be relied on; empty where it can.
    """

    state: State
    evidence: float
    highest: float
    threshold: float
    since: str | None
    at: int | None
    counts: Mapping[str, int]
    sentence: str
    void: str = ""


@dataclass(frozen=True, kw_only=True)
class Status:
    """All alarms of a guard; `plain` is JSON.

    Attributes:
        guard_sha256: the guard they are of.
        begun: when the first image was decided, ISO 8601 in UTC; None before that.
        images: decided images.
        abstained: those that went to a person.
        reasons: how many went there why, by reason code.
        group: what counts as one independent unit.
        sequences: how many are open, have ended, came again after they had ended, and images without one.
        workload: without labels, that more goes to a person. It is not about harm.
        harm: with labels, that more of the answers given are wrong than the risk.
        martingale: information: whether scores still come in the order that chance would bring.
        resets: alarms that were put back, when, by which reason.
        reference: what workload and martingale are held against, in words.
        detectable: what rise of the workload can be found how soon, in words.
    """

    guard_sha256: str
    begun: str | None
    images: int
    abstained: int
    reasons: Mapping[str, int]
    group: str
    sequences: Mapping[str, int]
    workload: AlarmState
    harm: AlarmState
    martingale: AlarmState
    resets: Sequence[Mapping[str, str]] = field(default=())
    reference: str = ""
    detectable: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    @property
    def alarmed(self) -> tuple[str, ...]:
        """The names of the alarms that are raised."""
        return tuple(name for name in ("workload", "harm") if getattr(self, name).state == "alarm")
