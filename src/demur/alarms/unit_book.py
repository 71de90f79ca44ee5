"""Which images belong to one independent unit, and when a unit is over."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np

from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_store import AlarmStore
from demur.alarms.observations import Observation

_UNCOUNTED = (
    "SELECT unit, name, images, abstained, score, last, chosen, questions, most, ended FROM units WHERE NOT counted "
    "ORDER BY last"
)
_UPDATE = "UPDATE units SET images = ?, abstained = ?, score = ?, last = ?, chosen = ?, questions = ? WHERE unit = ?"


@dataclass(frozen=True)
class Unit:
    """A unit that is over, or open.

    Attributes:
        number: its number; None where the unit is an image.
        name: of the sequence, "" where it has none.
        images: its images so far.
        abstained: those that went to a person.
        score: that of one of its images, drawn by dice, each as likely.
        last: when its last image came, seconds since 1970.
        chosen: images that dice chose.
        questions: of these, those that were answered, so that their labels are tested.
        most: how many images dice may choose.
    """

    number: int | None
    name: str
    images: int
    abstained: int
    score: float
    last: float
    chosen: int = 0
    questions: int = 0
    most: int = 0

    @property
    def share(self) -> float:
        """The share of its images that went to a person."""
        return self.abstained / self.images


@dataclass(frozen=True)
class Place:
    """Where an image belongs.

    Attributes:
        unit: the number of its sequence; None where it is a unit of its own, or in none.
        over: units that now are over and bet on, in their order.
        tested: whether it is in a unit: an image of no sequence, or of one that had ended, is not.
        wanted: whether dice chose it.
    """

    unit: int | None
    over: Sequence[Unit]
    _: KW_ONLY
    tested: bool
    wanted: bool


class UnitBook:
    """The sequences of a stream; an image is a unit of its own where the plan says so.

    Only the first piece of a sequence is a unit: what comes under a name whose sequence was over is like it, and no
    unit of its own. Units are bet on in the order in which they began, whichever is over first: short ones are over
    sooner, and may be of another kind.
    """

    def __init__(self, plan: AlarmPlan, store: AlarmStore, dice: np.random.Generator) -> None:
        self._plan, self._store, self._dice = plan, store, dice
        self._open: dict[str, Unit] = {}
        self._over: dict[int, Unit] = {}
        for *facts, ended in store.rows(_UNCOUNTED):
            unit = _read(facts)
            if ended:
                self._over[facts[0]] = unit
            else:
                self._open[unit.name] = unit
        counts = store.facts().get("sequences", {})
        self.came_again, self.ended = counts.get("came_again", 0), counts.get("ended", 0)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def last(self) -> int:
        """The number of the sequence that began last; 0 before the first."""
        return int(self._store.rows("SELECT coalesce(max(unit), 0) FROM units")[0][0])

    def place(self, image: Observation, now: float) -> Place:
        """Where an image belongs, and whether dice choose it."""
        if self._plan.group == "image":
            return Place(None, [_single(image, now)], tested=True, wanted=self._chosen())
        name = image.sequence
        if not name:
            return Place(None, [], tested=False, wanted=self._chosen())
        if name not in self._open and self._store.rows("SELECT 1 FROM units WHERE name = ? LIMIT 1", (name,)):
            self.came_again += 1
            return Place(None, [], tested=False, wanted=self._chosen())
        if name not in self._open and len(self._open) >= self._plan.sequences:
            self._end(next(iter(self._open)))  # the one that was silent longest comes first
        before = self._open.pop(name) if name in self._open else self._begun(name, now)
        slots = self._plan.longest - before.images
        wanted = slots * self._dice.random() < before.most - before.chosen
        self._open[name] = unit = self._grown(before, image, now, wanted=wanted)
        if unit.images >= self._plan.longest:
            self._end(name)
        return Place(unit.number, self._due(), tested=True, wanted=wanted)

    def any_silent(self, now: float) -> bool:
        """Whether a sequence has ended because nothing came for so long."""
        return any(now - unit.last > self._plan.silence for unit in self._open.values())

    def silent(self, now: float) -> Sequence[Unit]:
        """The units that are bet on because sequences ended to which nothing came for so long."""
        names = [name for name, unit in self._open.items() if now - unit.last > self._plan.silence]
        for name in names:
            self._end(name)
        return self._due() if names else []

    def keep(self) -> None:
        """Write down how far the open sequences are."""
        self._store.many(_UPDATE, [_row(unit) for unit in self._open.values()])
        self._store.keep_facts({"sequences": {"came_again": self.came_again, "ended": self.ended}})

    def _chosen(self) -> bool:
        return bool(self._dice.random() < self._plan.feedback)

    def _begun(self, name: str, now: float) -> Unit:
        most = int(self._plan.feedback * self._plan.longest + self._dice.random())
        number = self._store.execute("INSERT INTO units VALUES (NULL, ?, 0, 0, NULL, ?, 0, 0, 0, 0, ?)",
                                     (name, now, most))  # fmt: skip
        return Unit(number, name, 0, 0, np.nan, now, most=most)

    def _grown(self, unit: Unit, image: Observation, now: float, *, wanted: bool) -> Unit:
        images = unit.images + 1
        score = image.score if self._dice.random() < 1 / images else unit.score
        return replace(
            unit,
            images=images,
            abstained=unit.abstained + (not image.accepted),
            score=score,
            last=now,
            chosen=unit.chosen + wanted,
            questions=unit.questions + (wanted and image.accepted),
        )

    def _end(self, name: str) -> None:
        unit = self._open.pop(name)
        self.ended += 1
        self._store.execute(_UPDATE, _row(unit))
        self._store.execute("UPDATE units SET ended = 1 WHERE unit = ?", (unit.number,))
        self._over[unit.number or 0] = unit

    def _due(self) -> list[Unit]:
        """The units that are over, up to the first that is not; they are counted."""
        first = min((unit.number or 0 for unit in self._open.values()), default=None)
        due = [self._over.pop(number) for number in sorted(self._over) if first is None or number < first]
        self._store.many("UPDATE units SET counted = 1 WHERE unit = ?", [(unit.number,) for unit in due])
        return due


def _single(image: Observation, now: float) -> Unit:
    return Unit(None, "", 1, int(not image.accepted), image.score, now)


def _row(unit: Unit) -> tuple[object, ...]:
    score = None if np.isnan(unit.score) else float(unit.score)
    return (unit.images, unit.abstained, score, unit.last, unit.chosen, unit.questions, unit.number)


def _read(facts: Sequence[Any]) -> Unit:
    number, name, images, abstained, score, *rest = facts
    return Unit(number, name, images, abstained, np.nan if score is None else score, *rest)
