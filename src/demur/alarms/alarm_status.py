"""What the alarms of a guard know at a moment, as JSON values and in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from demur.alarms import alarm_words as words
from demur.alarms.alarm_latches import Latches, day_and_time
from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_reference import Reference
from demur.alarms.feedback_book import FeedbackCounts
from demur.alarms.stream_evidence import Evidence

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
        numbers: shares and limits from 0 to 1; None where undefined.
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
    numbers: Mapping[str, float | None]
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
        sequences: how many are open and have ended, and images in no bet: those that came again under the name of a
            sequence that had ended, and those without one.
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """Everything that a status is worked out from."""

    reference: Reference
    plan: AlarmPlan
    guard_sha256: str
    evidence: Evidence
    latches: Latches
    feedback: FeedbackCounts
    least_harm: float
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    begun: float | None
    sequences: Mapping[str, int]


def status_of(moment: Moment) -> Status:
    """What the alarms know at a moment."""
    counts = {name: moment.counts.get(name, 0) for name in ("images", "abstained")}
    return Status(
        guard_sha256=moment.guard_sha256,
        begun=None if moment.begun is None else day_and_time(moment.begun),
        **counts,
        reasons=dict(moment.reasons),
        group=moment.plan.group,
        sequences=dict(moment.sequences),
        workload=_workload(moment, counts),
        harm=_harm(moment),
        martingale=_martingale(moment),
        resets=moment.latches.resets(),
        reference=moment.reference.sentence,
        detectable=_detectable(moment.reference, moment.plan, _rounded(moment.evidence.workload.wealth.units)),
    )


def _workload(moment: Moment, counts: dict[str, int]) -> AlarmState:
    test, reference = moment.evidence.workload, moment.reference
    raised = moment.latches["workload"].since is not None
    return _state(
        moment,
        "workload",
        evidence=float(test.evidence),
        counts={**counts, "units": test.wealth.units, "reference_images": reference.images},
        numbers={
            "share": counts["abstained"] / counts["images"] if counts["images"] else None,
            "reference_share": reference.share,
            "tolerance": moment.plan.tolerance,
        },
        sentence=words.workload_words(reference, moment.plan, counts, alarm=raised)
        + words.untested_words(moment.sequences),
        void=words.unnamed_words(moment.sequences),
    )


def _harm(moment: Moment) -> AlarmState:
    wealth, told = moment.evidence.harm, moment.feedback
    risk, raised = float(wealth.bets.nulls[0]), moment.latches["harm"].since is not None
    least, most = told.risk_if_unknown_right, told.risk_if_unknown_wrong
    ends = {"least": least[0], "least_low": least[1], "most": most[0], "most_high": most[1]}
    return _state(
        moment,
        "harm",
        evidence=max(float(wealth.total[0]), moment.least_harm),
        counts={**vars(told), "units": wealth.units},
        numbers={"risk": risk, **{name: None if math.isnan(end) else end for name, end in ends.items()}},
        sentence=words.harm_words(risk, told, alarm=raised),
        void=words.unnamed_words(moment.sequences)
        or words.unlike_words(moment.reference, moment.plan)
        or words.void_words(told, moment.plan),
    )


def _martingale(moment: Moment) -> AlarmState:
    return _state(
        moment,
        "martingale",
        evidence=moment.evidence.jumper.total,
        counts={"scores": len(moment.evidence.bag)},
        numbers={},
        sentence=words.martingale_words(unusual=moment.latches["martingale"].since is not None),
    )


def _state(moment: Moment, name: str, **found: Any) -> AlarmState:
    latch = moment.latches[name]
    return AlarmState(
        state="quiet" if latch.since is None else "alarm",
        highest=latch.highest,
        threshold=1 / moment.plan.alpha,
        since=None if latch.since is None else day_and_time(latch.since),
        at=latch.at,
        **found,
    )


def _rounded(units: int) -> int:
    """To one digit, so that what follows from it is not worked out anew for each image."""
    step = 10 ** max(0, len(str(units)) - 1)
    return units // step * step


@lru_cache(maxsize=64)
def _detectable(reference: Reference, plan: AlarmPlan, quiet: int) -> str:
    return words.detectable_words(reference, plan, quiet)
