"""Signals: evidence in, one float64 score per image out; higher = more uncertainty, for all.

A signal is ready to score (`Signal`), or it must be fitted to reference images first (`Fittable`), and these are
different types: fitting the one gives the other. Every registered class is here by its name, imported when it is first
used: `from demur.signals import KNN`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from demur.evidence import Evidence
from demur.registry import class_names, public_class
from demur.shapes import Labels, Scores

GRADIENT = 2.25
"""What a gradient with respect to the images costs, in forward passes, its own forward among them."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a signal reads besides logits, and what it costs beyond the one forward pass that all signals share.

    `layers` are the names of those whose activations it reads, `members` says that the model must be an ensemble.
    `passes` counts forward passes for each image, a gradient as `GRADIENT`; `fitting` the same for each reference
    image, for signals that are fitted.
    """

    layers: tuple[str, ...] = ()
    features: bool = False
    members: bool = False
    passes: float = 0.0
    fitting: float = 0.0

    def __or__(self, other: "Needs") -> "Needs":
        """What two signals need together."""
        return Needs(
            layers=tuple(dict.fromkeys((*self.layers, *other.layers))),
            features=self.features or other.features,
            members=self.members or other.members,
            passes=self.passes + other.passes,
            fitting=self.fitting + other.fitting,
        )


LOGITS = Needs()
"""What a signal needs that says nothing of its needs."""


class Signal(Protocol):
    """A frozen dataclass whose `__call__` is its formula; it scores each row alone.

    The first line of its docstring says what it is and when it is high, and is quoted in reports; `unit` names the
    scale. One that reads more than logits says so in `needs`, a class variable or property of type `Needs`.
    """

    @property
    def unit(self) -> str:
        """The scale of its scores; a class variable will do."""
        ...

    def __call__(self, evidence: Evidence) -> Scores:
        """One score per row, float64."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """A frozen dataclass of hyper-parameters that becomes a signal by seeing reference images.

    Its docstring, `unit` and `needs` are those of the signal it becomes. What is fitted must follow from the reference
    alone: the same images in the same batches give the same signal, to the last bit.
    """

    @property
    def unit(self) -> str:
        """The scale of the scores; a class variable will do."""
        ...

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> Signal:
        """The signal fitted to clean reference images.

        Args:
            reference: evidence batch by batch, made anew each time it is iterated; hold what you need, not the batch.
            labels: of all rows of the reference, in its order.
        """
        ...


AnySignal: TypeAlias = Signal | Fittable


@runtime_checkable
class Needing(Protocol):
    """A signal that says what it needs."""

    @property
    def needs(self) -> Needs:
        """What it reads besides logits, and what it costs."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A fitted signal that has something to tell of how it was fitted."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Plain JSON values, kept in the run folder."""
        ...


@runtime_checkable
class MadeOf(Protocol):
    """A signal that is, or when fitted becomes, `Composed`."""

    @property
    def made_of(self) -> str:
        """What its parts are: layers, squeezers or mutants; a class variable will do."""
        ...


@runtime_checkable
class Composed(MadeOf, Protocol):
    """A signal whose score follows from its parts without another pass, so that an audit keeps the parts too."""

    def parts(self, evidence: Evidence) -> Mapping[str, Scores]:
        """Name → one number per row, float64."""
        ...

    def of_parts(self, parts: Mapping[str, Scores], evidence: Evidence) -> Scores:
        """The score that these parts of the same rows make."""
        ...


def needs_of(signal: AnySignal) -> Needs:
    """What a signal reads besides logits, and what it costs."""
    return signal.needs if isinstance(signal, Needing) else LOGITS


def only_logits(signal: AnySignal) -> bool:
    """Whether a signal can be scored as it is and reads nothing but logits."""
    return not isinstance(signal, Fittable) and needs_of(signal) == LOGITS


def __getattr__(name: str) -> Any:
    return public_class("signal", __name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *class_names("signal")})
