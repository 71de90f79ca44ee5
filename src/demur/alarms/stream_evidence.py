"""What a stream has shown so far: the three e-processes of a guard, kept and read back."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_reference import Reference
from demur.alarms.alarm_store import AlarmStore
from demur.alarms.betting_process import Wealth
from demur.alarms.score_martingale import CODES, RankedBag, SimpleJumper, code_of, codes_of
from demur.alarms.workload_test import WorkloadTest
from demur.policies.policy import Floats

_PARTS = ("fixed", "adaptive", "recent")


def workload_of(reference: Reference, plan: AlarmPlan) -> WorkloadTest:
    """The workload test before the first unit."""
    return WorkloadTest.of(reference.images, reference.abstained, reference.several, plan.tolerance)


def harm_of(reference: Reference, plan: AlarmPlan) -> Wealth:
    """The bets on wrong answers before the first label."""
    return Wealth.start(reference.risk if plan.risk is None else plan.risk)


@dataclass(eq=False)
class Evidence:
    """The state of the e-processes; bags of scores grow in place, everything else is replaced.

    Attributes:
        workload: that more goes to a person.
        harm: that more of the answers are wrong.
        jumper: that scores do not come in the order that chance would bring.
        bag: the scores so far, the tune scores among them.
        fresh: how many came to which class of scores since the last time they were kept.
    """

    workload: WorkloadTest
    harm: Wealth
    jumper: SimpleJumper
    bag: RankedBag
    fresh: Counter[int] = field(default_factory=Counter)

    @classmethod
    def read(cls, store: AlarmStore, reference: Reference, plan: AlarmPlan) -> "Evidence":
        """What a store has, or the beginning."""
        counts = np.bincount(codes_of(reference.scores), minlength=CODES)
        for code, count in store.rows("SELECT code, count FROM codes"):
            counts[code] += count
        workload, facts = workload_of(reference, plan), store.facts()
        parts = store.array("jumper", (3,))
        return cls(
            workload=replace(workload, wealth=_read(store, "workload", workload.wealth, facts)),
            harm=_read(store, "harm", harm_of(reference, plan), facts),
            jumper=SimpleJumper.start() if parts is None else SimpleJumper(parts),
            bag=RankedBag(counts),
        )

    def unit(self, share: float, weight: float) -> None:
        """The share of one more unit that went to a person."""
        self.workload = self.workload.after(share, weight)

    def score(self, score: float, dice: float) -> None:
        """One more score, and dice from 0 to 1 that decide among its like."""
        code = code_of(score)
        self.jumper = self.jumper.after(self.bag.p_value(code, dice))
        self.fresh[code] += 1

    def keep(self, store: AlarmStore) -> None:
        """Write everything down."""
        arrays = {
            **_arrays("workload", self.workload.wealth),
            **_arrays("harm", self.harm),
            "jumper": self.jumper.parts,
        }
        store.keep_arrays(arrays)
        store.keep_facts({"workload.units": self.workload.wealth.units, "harm.units": self.harm.units})
        store.many(
            "INSERT INTO codes VALUES (?, ?) ON CONFLICT (code) DO UPDATE SET count = count + excluded.count",
            list(self.fresh.items()),
        )
        self.fresh.clear()


def _arrays(name: str, wealth: Wealth) -> dict[str, Floats]:
    return {f"{name}.{part}": getattr(wealth, part) for part in _PARTS}


def _read(store: AlarmStore, name: str, start: Wealth, facts: Mapping[str, Any]) -> Wealth:
    parts = {part: store.array(f"{name}.{part}", getattr(start, part).shape) for part in _PARTS}
    found: dict[str, Any] = {part: numbers for part, numbers in parts.items() if numbers is not None}
    return replace(start, **found, units=int(facts.get(f"{name}.units", 0))) if len(found) == len(_PARTS) else start
