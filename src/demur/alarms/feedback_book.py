"""Questions about images and what came back: which answers count, what is missing, what is known of the risk."""

from collections.abc import Sequence
from dataclasses import dataclass

from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_store import AlarmStore
from demur.alarms.observations import ContradictionError, Feedback, Question, UnknownImageError
from demur.errors import InputError, brief, legible
from demur.metrics.binomial import clopper_pearson

FEWEST_DUE = 20
"""Questions that should have been answered by now below which nothing is said of the share that was not."""

_LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class FeedbackCounts:
    """Where questions about given answers stand.

    Attributes:
        questions: answers that dice chose, so that someone was asked what is right.
        labels: of these, how many were told.
        wrong: of these, how many were wrong.
        missing: questions that were not answered in time.
        waiting: questions for which there is still time.
        others: feedback on images that dice did not choose, or on withheld answers: kept, not tested.
    """

    questions: int
    labels: int
    wrong: int
    missing: int
    waiting: int
    others: int

    @property
    def missing_share(self) -> float:
        """The share of the questions whose time is over that was not answered; 0 while there are none."""
        return self.missing / max(1, self.labels + self.missing)

    @property
    def risk_if_missing_right(self) -> tuple[float, float]:
        """The least wrong share of answers that is plausible: value and lower 95 % end, all missing being right."""
        found = clopper_pearson(self.wrong, self.labels + self.missing)
        return found.value, found.low

    @property
    def risk_if_missing_wrong(self) -> tuple[float, float]:
        """The largest wrong share of answers that is plausible: value and upper 95 % end, all missing being wrong."""
        found = clopper_pearson(self.wrong + self.missing, self.labels + self.missing)
        return found.value, found.high


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What someone says of an image: its class, or whether the answer was right."""

    label: str | None
    correct: bool | None

    def __post_init__(self) -> None:
        label, correct = self.label, self.correct
        if label is None and correct is None:
            raise InputError("feedback needs `label`, the right class, or `correct`; got neither. Give one of them.")
        if correct is not None and not isinstance(correct, bool):
            raise InputError(f"`correct` is true or false; got {correct!r:.80}.")
        if label is not None and not (isinstance(label, str) and 0 < len(label) <= _LONGEST):
            raise InputError(f"`label` is the name of a class, 1 to {_LONGEST} characters; got {label!r:.80}.")


class FeedbackBook:
    """The questions of one stream."""

    def __init__(self, plan: AlarmPlan, store: AlarmStore) -> None:
        self._plan, self._store = plan, store

    def take(self, name: str, verdict: "Verdict", now: float) -> tuple[Feedback, int | None]:
        """Keep an answer; what became of it, and the image's place in the stream where it may count."""
        label, correct = verdict.label, verdict.correct
        found = self._store.rows(
            "SELECT place, accepted, label, probability, right, correct FROM images WHERE id = ?", (name,)
        )
        if not found:
            raise UnknownImageError(
                f"no image {legible(brief(name))!r} was decided here, or so many came after it that it is forgotten. "
                "Give feedback on the id that came with its decision."
            )
        place, accepted, model, probability, right, before = found[0]
        is_right = bool(correct) if label is None else label == model
        if label is not None and correct is not None and correct != is_right:
            raise InputError(
                f"`label` {legible(brief(label))!r} and `correct` {correct} contradict each other: the model's answer "
                f"to {legible(brief(name))!r} is {model!r}. Give one of them."
            )
        if before is not None and (bool(before) != is_right or (label and right and label != right)):
            earlier = f"{right!r} is right" if right else f"the answer is {'right' if before else 'wrong'}"
            raise ContradictionError(
                f"feedback on {legible(brief(name))!r} was given before and said that {earlier}; it is not changed. "
                "Reset the alarm with this as the reason if it was a mistake."
            )
        self._store.execute(
            "UPDATE images SET right = coalesce(?, right), correct = ?, answered = coalesce(answered, ?) "
            "WHERE place = ?",
            (label if label is not None else model if is_right else None, int(is_right), now, place),
        )
        counts = probability is not None and bool(accepted)
        feedback = Feedback(
            name, is_right, counts, before is not None, _sentence(counts=counts, repeated=before is not None)
        )
        return feedback, place if counts and before is None else None

    def shares_due(self, place: int, now: float) -> Sequence[float]:
        """The wrong shares that a label completes: of the image, or of its sequence where that is over and complete."""
        unit = self._store.rows("SELECT unit, correct FROM images WHERE place = ?", (place,))[0]
        if unit[0] is None:
            self._store.execute("UPDATE images SET tested = 1 WHERE place = ?", (place,))
            return [1.0 - unit[1]]
        return self.complete([unit[0]], now)

    def complete(self, units: Sequence[int], now: float) -> Sequence[float]:
        """The wrong shares of labelled answers of those sequences that are over and wait for no more labels."""
        return [share for unit in units for share in self._complete(unit, now)]

    def overdue(self, now: float) -> Sequence[int]:
        """Sequences that are over, untested and have feedback that is missing by now."""
        rows = self._store.rows(
            "SELECT DISTINCT images.unit FROM images JOIN units USING (unit) WHERE probability IS NOT NULL "
            "AND accepted AND correct IS NULL AND time < ? AND ended AND NOT units.tested",
            (now - self._plan.patience,),
        )
        return [row[0] for row in rows]

    def _complete(self, unit: int, now: float) -> Sequence[float]:
        over, done = self._store.rows("SELECT ended, tested FROM units WHERE unit = ?", (unit,))[0]
        labels, right, waiting = self._store.rows(
            "SELECT count(correct), total(correct), total(correct IS NULL AND time >= ?) FROM images WHERE unit = ? "
            "AND probability IS NOT NULL AND accepted",
            (now - self._plan.patience, unit),
        )[0]
        if not over or done or waiting or not labels:
            return []
        self._store.execute("UPDATE units SET tested = 1 WHERE unit = ?", (unit,))
        self._store.execute(
            "UPDATE images SET tested = 1 WHERE unit = ? AND probability IS NOT NULL AND accepted "
            "AND correct IS NOT NULL",
            (unit,),
        )
        return [1 - right / labels]

    def counts(self, now: float) -> FeedbackCounts:
        """Where the questions about given answers stand."""
        questions, labels, right, waiting = self._store.rows(
            "SELECT count(*), count(correct), total(correct), total(correct IS NULL AND time >= ?) FROM images WHERE "
            "probability IS NOT NULL AND accepted",
            (now - self._plan.patience,),
        )[0]
        others = self._store.rows(
            "SELECT count(*) FROM images WHERE correct IS NOT NULL AND (probability IS NULL OR NOT accepted)"
        )[0][0]
        return FeedbackCounts(
            questions=questions,
            labels=labels,
            wrong=labels - round(right),
            missing=questions - labels - round(waiting),
            waiting=round(waiting),
            others=others,
        )

    def pending(self, limit: int) -> Sequence[Question]:
        """Images that wait for feedback, the oldest first."""
        rows = self._store.rows(
            "SELECT id, probability FROM images WHERE probability IS NOT NULL AND correct IS NULL "
            "ORDER BY place LIMIT ?",
            (limit,),
        )
        return [Question(*row) for row in rows]


def _sentence(*, counts: bool, repeated: bool) -> str:
    if repeated:
        return "The same was said of it before."
    if counts:
        return "It counts for the harm alarm."
    return "It is kept and does not count for the harm alarm: that rests on given answers which dice chose alone."
