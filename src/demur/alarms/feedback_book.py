"""Questions about images and what came back: which answers count, what is missing, what is known of the risk."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_store import AlarmStore
from demur.alarms.harm_queue import HarmQueue
from demur.alarms.observations import ContradictionError, Feedback, Question, UnknownImageError
from demur.errors import InputError, brief, legible
from demur.metrics.binomial import clopper_pearson

FEWEST_DUE = 20
"""Questions that should have been answered by now below which nothing is said of the share that was not."""

_LONGEST, _AT_ONCE = 200, 2_000


@dataclass(frozen=True, kw_only=True)
class FeedbackCounts:
    """Where questions about given answers stand.

    Attributes:
        questions: answers that dice chose, so that someone was asked what is right.
        labels: of these, how many were told.
        wrong: of these, how many were wrong.
        missing: questions that were not answered in time.
        waiting: questions for which there is still time.
        overtaken: of these at least so many are older than one that was answered.
        others: feedback on images that dice did not choose, on withheld answers, or on images that were decided before
            the alarm was reset: kept, not tested.
    """

    questions: int
    labels: int
    wrong: int
    missing: int
    waiting: int
    overtaken: int
    others: int

    @property
    def unknown(self) -> int:
        """Questions without a label."""
        return self.missing + self.waiting

    @property
    def missing_share(self) -> float:
        """The share of the questions whose time is over that was not answered; 0 while there are none."""
        return self.missing / max(1, self.labels + self.missing)

    @property
    def risk_if_unknown_right(self) -> tuple[float, float]:
        """The least wrong share of answers that is plausible, value and lower 95 % end: all without a label right."""
        found = clopper_pearson(self.wrong, self.questions)
        return found.value, found.low

    @property
    def risk_if_unknown_wrong(self) -> tuple[float, float]:
        """The largest wrong share of answers that is plausible, value and upper 95 % end: all without a label wrong."""
        found = clopper_pearson(self.wrong + self.unknown, self.questions)
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

    def right_of(self, name: str, model: str | None, classes: Sequence[str]) -> bool:
        """Whether the model's answer to an image was right.

        Raises:
            InputError: the class is none of the guard's, where these are known, or `correct` says something else.
        """
        label = self.label
        if label is None:
            return bool(self.correct)
        if classes and label not in classes:
            shown = ", ".join(legible(brief(each)) for each in classes[:20]) + (", …" if len(classes) > 20 else "")
            raise InputError(
                f"`label` {legible(brief(label))!r} is none of the guard's classes, {shown}. Write one of them as it "
                'is here, or "correct": false where it is none of them.'
            )
        right = label == model
        if self.correct is not None and self.correct != right:
            raise InputError(
                f"`label` {legible(brief(label))!r} and `correct` {self.correct} contradict each other: the model's "
                f"answer to {legible(brief(name))!r} is {model!r}. Give one of them."
            )
        return right


@dataclass(frozen=True)
class _Row:
    """What is kept of a decided image."""

    place: int
    model: str | None
    unit: int | None
    question: int | None
    right: str | None
    correct: int | None
    missing: int


class FeedbackBook:
    """The questions of one stream, and running counts of them."""

    def __init__(self, plan: AlarmPlan, store: AlarmStore, queue: HarmQueue, classes: Sequence[str]) -> None:
        self._plan, self._store, self._queue, self._classes = plan, store, queue, classes
        self.book: Counter[str] = Counter(store.facts().get("feedback", {}))

    def number(self) -> int:
        """The number of one more question about a given answer."""
        self.book["asked"] += 1
        return self.book["asked"]

    def take(self, name: str, verdict: "Verdict", now: float) -> Feedback:
        """Keep an answer; what became of it."""
        row = self._row(name)
        label, right = verdict.label, verdict.right_of(name, row.model, self._classes)
        before = row.correct
        if before is not None and (bool(before) != right or (label and row.right and label != row.right)):
            earlier = f"{row.right!r} is right" if row.right else f"the answer is {'right' if before else 'wrong'}"
            raise ContradictionError(
                f"feedback on {legible(brief(name))!r} was given before and said that {earlier}; it is not changed. "
                "Reset the alarm with this as the reason if it was a mistake."
            )
        self._store.execute(
            "UPDATE images SET right = coalesce(?, right), correct = ?, answered = coalesce(answered, ?) "
            "WHERE place = ?",
            (label if label is not None else row.model if right else None, int(right), now, row.place),
        )
        key = self._queue.key(row.question, row.unit)
        if before is None:
            self._count(row, right=right)
            if key is not None:
                self._queue.note(key)
        late = row.question is not None and row.question > self.book["since"] and key is None
        tested = key is not None if before is None else row.question is not None and not late
        sentence = "The same was said of it before." if before is not None else _sentence(tested=tested, late=late)
        return Feedback(name, right, tested, before is not None, sentence)

    def _count(self, row: "_Row", *, right: bool) -> None:
        if row.question is None or row.question <= self.book["since"]:
            self.book["others"] += 1
            return
        self.book["labels"] += 1
        self.book["wrong"] += not right
        self.book["missing"] -= row.missing
        self.book["newest"] = max(self.book["newest"], row.question)

    def _row(self, name: str) -> "_Row":
        found = self._store.rows(
            "SELECT place, label, unit, question, right, correct, missing FROM images WHERE id = ?", (name,)
        )
        if not found:
            raise UnknownImageError(
                f"no image {legible(brief(name))!r} was decided here, or so many came after it that it is forgotten. "
                "Give feedback on the id that came with its decision."
            )
        return _Row(*found[0])

    def any_overdue(self, now: float) -> bool:
        """Whether a question became overdue since the last look."""
        return bool(self._overdue(now, limit=1))

    def look(self, now: float) -> None:
        """Count the questions that became overdue."""
        for place, question in self._overdue(now, limit=_AT_ONCE):
            self._store.execute("UPDATE images SET missing = 1 WHERE place = ?", (place,))
            self.book["missing"] += question > self.book["since"]

    def _overdue(self, now: float, *, limit: int) -> Sequence[tuple[int, int]]:
        """Place and question of images whose label is overdue and not yet counted as missing."""
        return self._store.rows(
            "SELECT place, question FROM images WHERE question IS NOT NULL AND correct IS NULL AND missing = 0 "
            "AND time < ? LIMIT ?",
            (now - self._plan.patience, limit),
        )

    def begin_anew(self) -> None:
        """Count questions and labels from here on."""
        self.book = Counter(others=self.book["others"], asked=self.book["asked"], since=self.book["asked"])

    def keep(self) -> None:
        """Write the counts down."""
        self._store.keep_facts({"feedback": dict(self.book)})

    @property
    def counts(self) -> FeedbackCounts:
        """Where the questions about given answers stand."""
        book = self.book
        questions = book["asked"] - book["since"]
        told = {name: book[name] for name in ("labels", "wrong", "missing", "others")}
        waiting = questions - book["labels"] - book["missing"]
        older = book["newest"] - book["since"] - book["labels"] - book["missing"] if book["newest"] else 0
        return FeedbackCounts(questions=questions, waiting=waiting, overtaken=max(0, older), **told)

    def pending(self, limit: int) -> Sequence[Question]:
        """Images that wait for feedback, the oldest first."""
        rows = self._store.rows(
            "SELECT id, probability FROM images WHERE probability IS NOT NULL AND correct IS NULL "
            "ORDER BY place LIMIT ?",
            (limit,),
        )
        return [Question(*row) for row in rows]


def _sentence(*, tested: bool, late: bool) -> str:
    if tested:
        return "It counts for the harm alarm."
    if late:
        return "It came late, when later labels had been tested: it is kept and does not count for the harm alarm."
    return (
        "It is kept and does not count for the harm alarm: that rests on given answers which dice chose alone, since "
        "the alarm was last reset."
    )
