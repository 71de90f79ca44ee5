"""Which images belong to one independent unit, and when a unit is over."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_store import AlarmStore
from demur.alarms.observations import Observation

_UNNAMED = ""


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
    """

    number: int | None
    name: str
    images: int
    abstained: int
    score: float
    last: float

    @property
    def share(self) -> float:
        """The share of its images that went to a person."""
        return self.abstained / self.images


class UnitBook:
    """The open sequences of a stream; an image is a unit of its own where the plan says so."""

    def __init__(self, plan: AlarmPlan, store: AlarmStore, dice: np.random.Generator) -> None:
        self._plan, self._store, self._dice = plan, store, dice
        rows = store.rows("SELECT unit, name, images, abstained, score, last FROM units WHERE NOT ended ORDER BY last")
        self._open: dict[str, Unit] = {
            name: Unit(number, name, images, abstained, np.nan if score is None else score, last)
            for number, name, images, abstained, score, last in rows
        }
        counts = store.facts().get("sequences", {})
        self.came_again, self.ended = counts.get("came_again", 0), counts.get("ended", 0)

    def __len__(self) -> int:
        return len(self._open)

    def place(self, image: Observation, now: float) -> tuple[int | None, Sequence[Unit]]:
        """The number of the unit that an image belongs to, and the units that are over with it, in their order."""
        if self._plan.group == "image":
            return None, [Unit(None, "", 1, int(not image.accepted), image.score, now)]
        name = image.sequence or _UNNAMED
        over = [] if name in self._open else self._making_room()
        unit = self._grown(self._open.pop(name) if name in self._open else self._begun(name, now), image, now)
        self._open[name] = unit
        if unit.images >= self._plan.longest:
            over.append(self._ended(name))
        return unit.number, over

    def any_silent(self, now: float) -> bool:
        """Whether a sequence has ended because nothing came for so long."""
        return any(now - unit.last > self._plan.silence for unit in self._open.values())

    def silent(self, now: float) -> Sequence[Unit]:
        """The sequences that ended because nothing came for so long."""
        names = [name for name, unit in self._open.items() if now - unit.last > self._plan.silence]
        return [self._ended(name) for name in names]

    def keep(self) -> None:
        """Write down how far the open sequences are."""
        rows = [
            (each.images, each.abstained, _stored(each.score), each.last, each.number) for each in self._open.values()
        ]
        self._store.many("UPDATE units SET images = ?, abstained = ?, score = ?, last = ? WHERE unit = ?", rows)

        self._store.keep_facts({"sequences": {"came_again": self.came_again, "ended": self.ended}})

    def _making_room(self) -> list[Unit]:
        full = len(self._open) >= self._plan.sequences
        return [self._ended(next(iter(self._open)))] if full else []  # the one that was silent longest comes first

    def _begun(self, name: str, now: float) -> Unit:
        self.came_again += bool(self._store.rows("SELECT 1 FROM units WHERE name = ? LIMIT 1", (name,))) and name != ""
        number = self._store.execute("INSERT INTO units VALUES (NULL, ?, 0, 0, NULL, ?, 0, 0)", (name, now))
        return Unit(number, name, 0, 0, np.nan, now)

    def _grown(self, unit: Unit, image: Observation, now: float) -> Unit:
        images = unit.images + 1
        score = image.score if self._dice.random() < 1 / images else unit.score
        abstained = unit.abstained + (not image.accepted)
        return replace(unit, images=images, abstained=abstained, score=score, last=now)

    def _ended(self, name: str) -> Unit:
        unit = self._open.pop(name)
        self.ended += 1
        self._store.execute(
            "UPDATE units SET images = ?, abstained = ?, score = ?, last = ?, ended = 1 WHERE unit = ?",
            (unit.images, unit.abstained, _stored(unit.score), unit.last, unit.number),
        )
        return unit


def _stored(score: float) -> float | None:
    return None if np.isnan(score) else float(score)
