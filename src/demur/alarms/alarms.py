"""The alarms of one guard, with their state: images in, questions out; feedback in; a status at any time."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

import numpy as np

from demur.alarms.alarm_latches import ALARMS, Latches
from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_reference import Reference
from demur.alarms.alarm_status import Moment, Status, status_of
from demur.alarms.alarm_store import AlarmStore
from demur.alarms.feedback_book import FeedbackBook, Verdict
from demur.alarms.harm_queue import HarmQueue
from demur.alarms.observations import Feedback, Observation, Question
from demur.alarms.stream_evidence import Evidence, harm_of, workload_of
from demur.alarms.unit_book import Place, Unit, UnitBook
from demur.errors import InputError, RunError, brief, legible

_FIXED = ("alpha", "tolerance", "risk", "group")
_LONGEST = 1000

UNREADABLE = "unreadable"
"""Abstentions that no question is asked about: there is nothing to see."""


@dataclass(frozen=True, eq=False)
class Outside:
    """What does not follow from the images: the time, seconds since 1970, and dice."""

    clock: Callable[[], float]
    dice: np.random.Generator


class Alarms:
    """One guard's alarms; several threads may use them, and take turns.

    What `observe` and `feedback` have returned about is in the hands of the operating system: a process that is killed
    loses nothing of it. Alarms stay raised until `reset`.

    >>> reference = Reference(images=2000, abstained=400, scores=np.linspace(0, 1, 500), signal="msp", risk=0.02)
    >>> alarms = Alarms.open(None, reference, AlarmPlan(feedback=1.0), guard_sha256="ab" * 32)
    >>> alarms.observe([Observation("a.png", accepted=True, score=0.1, label="cat")])
    [Question(id='a.png', probability=1.0)]
    >>> alarms.feedback("a.png", label="cat").correct
    True
    >>> alarms.status().harm.counts["labels"]
    1
    """

    def __init__(
        self, store: AlarmStore, reference: Reference, plan: AlarmPlan, guard_sha256: str, outside: "Outside"
    ) -> None:
        self.reference, self.plan, self.guard_sha256 = reference, plan, guard_sha256
        self._store, self._outside, self._turn = store, outside, RLock()
        self._read()

    @classmethod
    def open(
        cls,
        place: Path | None,
        reference: Reference,
        plan: AlarmPlan,
        *,
        guard_sha256: str,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> "Alarms":
        """Alarms whose state is in a SQLite file, which is made if it is not there, or in memory alone.

        Args:
            place: the file; None for memory.
            reference: of the guard.
            plan: what they keep to; alpha, tolerance, risk and group stay what they were when the file was begun.
            guard_sha256: the hash of the guard's list of files; a state of another guard is refused.
            clock: seconds since 1970.
            seed: of the dice, for trials alone; by default it is drawn from the system.

        Raises:
            InputError: the file is no state of alarms, of another guard or plan, or in use by another process.
        """
        store = AlarmStore(place)
        try:
            _check_kept(store, plan, guard_sha256)
            return cls(store, reference, plan, guard_sha256, Outside(clock, np.random.default_rng(seed)))
        except BaseException:
            store.shut()
            raise

    def _read(self) -> None:
        facts = self._store.facts()
        self._evidence = Evidence.read(self._store, self.reference, self.plan)
        self._units = UnitBook(self.plan, self._store, self._outside.dice)
        self._queue = HarmQueue(self.plan, self._store)
        self._questions = FeedbackBook(self.plan, self._store, self._queue, self.reference.classes)
        self._latches = Latches(self._store, self.plan.alpha)
        self._counts: Counter[str] = Counter(facts.get("counts", {}))
        self._reasons: Counter[str] = Counter(facts.get("reasons", {}))
        self._begun: float | None = facts.get("begun")

    @contextmanager
    def _turning(self) -> Iterator[float]:
        """One change of the state: all of it or none."""
        with self._turn:
            now = self._outside.clock()
            try:
                with self._store.writing():
                    yield now
                    self._keep()
            except BaseException:
                self._read()
                raise

    def _keep(self) -> None:
        self._evidence.keep(self._store)
        self._units.keep()
        self._queue.keep()
        self._questions.keep()
        self._latches.keep()
        facts = {"counts": dict(self._counts), "reasons": dict(self._reasons), "begun": self._begun}
        self._store.keep_facts(facts)

    def observe(self, images: Sequence[Observation]) -> Sequence[Question | None]:
        """Decided images in the order they came; for each a question about it, or None.

        Questions are about answered and withheld images alike, with the plan's probability and by dice that see nothing
        of the image, so that the images with feedback are a sample of the stream; the harm alarm counts answered ones.

        Raises:
            InputError: an id that is empty, too long or was there before; nothing of the images is counted then.
            RunError: the state cannot be written; nothing is counted then.
        """
        if not len(images):
            return []
        with self._turning() as now:
            self._begun = now if self._begun is None else self._begun
            self._over(self._units.silent(now), now)
            found = [self._take(image, now) for image in images]
            self._forget()
        return found

    def _take(self, image: Observation, now: float) -> Question | None:
        _check_image(image)
        place = self._units.place(image, now)
        wanted = place.wanted and image.reason != UNREADABLE
        self._insert(image, now, place, wanted=wanted)
        self._counts["images"] += 1
        self._counts["unnamed"] += self.plan.group == "sequence" and not image.sequence
        if not image.accepted:
            self._counts["abstained"] += 1
            self._reasons[image.reason or "other"] += 1
        self._over(place.over, now)
        return Question(image.id, self.plan.feedback) if wanted else None

    def _insert(self, image: Observation, now: float, place: Place, *, wanted: bool) -> None:
        score = None if np.isnan(image.score) else float(image.score)
        probability = self.plan.feedback if wanted else None
        rows = self._store.rows("SELECT 1 FROM images WHERE id = ?", (image.id,))
        if rows:
            raise InputError(
                f"the image {legible(brief(image.id))!r} was decided here before; every image has an id of its own."
            )
        tested = wanted and image.accepted and place.tested and (place.unit or 1) > self._counts["reset_unit"]
        question = self._questions.number() if tested else None
        self._store.execute(
            "INSERT INTO images VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, 0)",
            (image.id, now, int(image.accepted), image.reason, score, image.label, place.unit, probability, question),
        )

    def _over(self, units: Sequence[Unit], now: float) -> None:
        """Units that are over count."""
        for unit in units:
            weight = self._weight(unit)
            if (unit.number or 1) > self._counts["reset_workload_unit"]:
                self._evidence.unit(unit.share, weight)
            if weight == 1 or self._outside.dice.random() < weight:  # as likely as any image of the stream
                self._evidence.score(unit.score, float(self._outside.dice.random()))
            count = self._evidence.workload.wealth.units
            self._latches.look("workload", float(self._evidence.workload.evidence), count, now)
            self._latches.look("martingale", self._evidence.jumper.total, count, now)

    def _weight(self, unit: Unit) -> float:
        """That of a unit: by its images where the reference counts images, else as that of any other."""
        return 1.0 if unit.number is None or self.reference.unit == "group" else unit.images / self.plan.longest

    def _test(self, now: float) -> None:
        """Bet on the labels whose turn it is."""
        for share, weight in self._queue.take(now):
            self._evidence.harm = self._evidence.harm.after(share, weight)
            self._latches.look("harm", float(self._evidence.harm.total[0]), self._evidence.harm.units, now)
        self._latches.look("harm", self._queue.least(self._evidence.harm), self._evidence.harm.units, now)

    def _forget(self) -> None:
        """Decisions without a question or feedback are kept for a while only, and so are questions that are overdue."""
        if self._counts["images"] > self.plan.memory:
            until = self._counts["images"] - self.plan.memory
            self._store.execute(
                "DELETE FROM images WHERE probability IS NULL AND correct IS NULL AND place <= ?", (until,)
            )
            self._counts["forgotten"] += self._store.changed(
                "DELETE FROM images WHERE probability IS NOT NULL AND correct IS NULL AND missing = 1 AND place <= ?",
                (until,),
            )

    def feedback(self, id: str, *, label: str | None = None, correct: bool | None = None) -> Feedback:  # noqa: A002
        """What is right of an image: its class, or whether the model's answer was right.

        Raises:
            UnknownImageError: no such image is known.
            ContradictionError: something else was said of it before.
            InputError: neither `label` nor `correct`, or they contradict each other.
        """
        with self._turning() as now:
            found = self._questions.take(id, Verdict(label=label, correct=correct), now)
            self._test(now)
        return found

    def unknown_ids(self, names: Sequence[str]) -> Sequence[str]:
        """Which of some ids are of no image that was decided here, in the same order."""
        with self._turn:
            known = {name for name in names if self._store.rows("SELECT 1 FROM images WHERE id = ?", (name,))}
        return [name for name in names if name not in known]

    @property
    def raised(self) -> tuple[str, ...]:
        """The names of the alarms that are raised."""
        with self._turn:
            return tuple(name for name in ALARMS if self._latches[name].since is not None)

    def pending(self, limit: int = 100) -> Sequence[Question]:
        """Images that wait for feedback, the oldest first."""
        with self._turn:
            return self._questions.pending(limit)

    def reset(self, alarm: str, reason: str) -> None:
        """Put back an alarm that was raised, `workload` or `harm`: its evidence begins anew, and the reason is kept.

        The promise of alpha is then about the stream from here on.

        Raises:
            InputError: there is no such alarm, it is quiet, or there is no reason.
        """
        with self._turning() as now:
            self._latches.put_back(alarm, reason, now)
            if alarm == "harm":
                self._evidence.harm = harm_of(self.reference, self.plan)
                self._questions.begin_anew()
                by_image = self.plan.group == "image"
                self._queue.begin_anew(self._questions.book["asked"] if by_image else self._units.last)
                self._counts["reset_unit"] = 0 if by_image else self._units.last
            else:
                self._evidence.workload = workload_of(self.reference, self.plan)
                self._counts["reset_workload_unit"] = 0 if self.plan.group == "image" else self._units.last

    def status(self) -> Status:
        """What the alarms know now."""
        with self._turn:
            now = self._outside.clock()
            if self._questions.any_overdue(now) or self._units.any_silent(now) or self._queue.due(now):
                with self._turning():
                    self._over(self._units.silent(now), now)
                    self._questions.look(now)
                    self._test(now)
            return self._status()

    def _status(self) -> Status:
        units = self._units
        sequences = {"open": len(units), "ended": units.ended, "came_again": units.came_again}
        return status_of(
            Moment(
                reference=self.reference,
                plan=self.plan,
                guard_sha256=self.guard_sha256,
                evidence=self._evidence,
                latches=self._latches,
                feedback=self._questions.counts,
                least_harm=self._queue.least(self._evidence.harm),
                counts=self._counts,
                reasons=self._reasons,
                begun=self._begun,
                sequences={**sequences, "unnamed": self._counts["unnamed"]},
            )
        )

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._store.shut()


def kept_plan(place: Path) -> AlarmPlan:
    """The plan that a state was begun with.

    Raises:
        InputError: there is no such state, or it is in use.
        RunError: it was changed from outside.
    """
    if not place.is_file():
        raise InputError(f"there is no state of alarms at {legible(str(place))}. Name the file that --state wrote.")
    store = AlarmStore(place)
    try:
        return AlarmPlan(**store.facts()["plan"])
    except (KeyError, TypeError, InputError) as error:
        raise RunError(f"the plan in {store.name} cannot be read ({error}). Name a new file.") from None
    finally:
        store.shut()


def _check_kept(store: AlarmStore, plan: AlarmPlan, guard_sha256: str) -> None:
    """Refuse a state that was begun for another guard or another plan; note both in a new one."""
    kept = store.facts()
    if "guard_sha256" not in kept:
        with store.writing():
            store.keep_facts({"guard_sha256": guard_sha256, "plan": plan.plain})
        return
    if kept["guard_sha256"] != guard_sha256:
        raise InputError(
            f"the alarms in {store.name} are of the guard {kept['guard_sha256'][:12]}…, and this is "
            f"{guard_sha256[:12]}…: what was seen of one says nothing of another. Name a new file."
        )
    for name in (*_FIXED, "longest") if plan.group == "sequence" else _FIXED:
        before, now = kept["plan"].get(name), getattr(plan, name)
        if before != now:
            raise InputError(
                f"the alarms in {store.name} were begun with `{name}` {before}; now it is {now}, and what alpha "
                f"promises is of one plan. Keep {before}, or name a new file."
            )


def _check_image(image: Observation) -> None:
    for name, text in (
        ("id", image.id),
        ("sequence", image.sequence),
        ("reason", image.reason),
        ("label", image.label),
    ):
        if text is not None and not (isinstance(text, str) and len(text) <= _LONGEST):
            raise InputError(f"`{name}` of an image is text of at most {_LONGEST} characters; got {text!r:.80}.")
    if not image.id:
        raise InputError("`id` of an image must not be empty: feedback names it. Give each image one of its own.")
