"""What goes into alarms and what comes back: decided images, questions about some of them, answers to these."""

from dataclasses import dataclass

from demur.errors import InputError


class UnknownImageError(InputError):
    """Feedback on an image of which nothing is known: it was not decided here, or long ago and forgotten."""


class ContradictionError(InputError):
    """Feedback on an image that says something else than what was said of it before."""


@dataclass(frozen=True)
class Observation:
    """One image that a guard has decided.

    Attributes:
        id: its name, unlike that of any other image.
        accepted: whether the answer was given.
        reason: why it was not, a code; empty where it was.
        score: uncertainty by the first signal of the guard's policy, higher = more uncertain; NaN where there is none.
        label: the model's answer, the name of a class, given or not; None where there is none.
        sequence: the sequence of images it belongs to, such as a camera's run or a patient; None where it has none.
    """

    id: str
    accepted: bool
    reason: str = ""
    score: float = float("nan")
    label: str | None = None
    sequence: str | None = None


@dataclass(frozen=True)
class Question:
    """A request to say what is right of an image, which dice chose with `probability` whatever its score is."""

    id: str
    probability: float


@dataclass(frozen=True)
class Feedback:
    """What became of an answer to a question.

    Attributes:
        id: the image.
        correct: whether the model's answer was right.
        tested: whether it counts for the harm alarm: only images that the dice chose do.
        repeated: whether the same was said of it before; nothing changed then.
        sentence: the same in words.
    """

    id: str
    correct: bool
    tested: bool
    repeated: bool
    sentence: str
