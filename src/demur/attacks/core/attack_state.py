"""What an attack carries from step to step, what the model shows it, and what it did to each row."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntFlag
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from demur.randomness import uniform
from demur.shapes import Flags, Images, Labels, Logits, Scores

Norm = Literal["linf", "l2", "l1", "none"]
"""How perturbations are measured; "none" for changes that have no size, such as rotations."""

Needs = Literal["loss", "gradient", "jacobian"]


class AttackState:
    """A frozen bundle of tensors that all lead with the row axis.

    The harness fills what every attack is given and gathers and joins rows; an attack adds what else it must remember
    under names of its own (`state.low`, `state.radius`).

    Args:
        x: where each row stands.
        y: labels.
        origin: the clean images.
        eps: radius of each row's ball, a fraction of the [0, 1] pixel range; infinite where there is none.
        seed: what each row's random numbers come from.
        logits: the model's answer at `origin`, or where an earlier attack came closest to success.
        target: the class whose claim the loss climbs; None: away from the label.
        done: rows that need no further step: set by `start`, they are not even looked at; by `advance`, they are judged
            where they stand and leave.
        own: the attack's own tensors.
    """

    def __init__(
        self,
        *,
        x: Images,
        y: Labels,
        origin: Images,
        eps: Scores,
        seed: Tensor,
        logits: Logits,
        target: Labels | None = None,
        done: Flags | None = None,
        **own: Tensor,
    ) -> None:
        self.x, self.y, self.origin, self.eps = x, y, origin, eps
        self.seed, self.logits, self.target = seed, logits, target
        self.done = torch.zeros_like(y, dtype=torch.bool) if done is None else done
        self._own: Mapping[str, Tensor] = MappingProxyType(own)

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self._own[name]
        except KeyError:
            raise AttributeError(name) from None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def delta(self) -> Images:
        """The perturbation so far."""
        return self.x - self.origin

    def at(self, x: Images, **changes: Tensor) -> "AttackState":
        """The same rows at new places, with some of the attack's own tensors, the target or `done` new or replaced."""
        return AttackState(**{**self._fields(), **changes, "x": x.to(self.x.dtype)})

    def rows(self, index: Tensor) -> "AttackState":
        """Some of the rows."""
        some: dict[str, Any] = {name: None if v is None else v[index] for name, v in self._fields().items()}
        return AttackState(**some)

    def join(self, other: "AttackState") -> "AttackState":
        """These rows, then the other's."""
        theirs = other._fields()
        both: dict[str, Any] = {n: None if v is None else torch.cat([v, theirs[n]]) for n, v in self._fields().items()}
        return AttackState(**both)

    def uniform(self, draw: str, like: Tensor, step: Tensor | int = 0) -> Tensor:
        """Numbers in [0, 1), shaped as `like`, that depend on the row, the draw's name and the row's step alone."""
        return uniform(self.seed, draw, like, step)

    def _fields(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in ("x", "y", "origin", "eps", "seed", "logits", "target", "done")}
        return {**given, **self._own}


@dataclass(frozen=True)
class Output:
    """What the model shows at `state.x`.

    `loss` is the attack's own objective, which it climbs; `fooled` marks rows that already succeed there; `step` counts
    the advances each row has made since its start. `gradient` is the loss's with respect to the images, and `jacobian`
    (rows, candidates, channels, height, width) that of each candidate's logit minus the label's; both are empty where
    the attack did not ask for them.
    """

    logits: Logits
    loss: Scores
    gradient: Images
    jacobian: Tensor
    fooled: Flags
    step: Tensor

    def finite(self) -> "Output":
        """The same with gradients that are NaN or infinite set to zero, so that one bad pass loses no state."""
        if self.gradient.isfinite().all() and self.jacobian.isfinite().all():
            return self
        gradient, jacobian = (g.nan_to_num(0.0, 0.0, 0.0) for g in (self.gradient, self.jacobian))
        return replace(self, gradient=gradient, jacobian=jacobian)


class Attack(Protocol):
    """A frozen dataclass: fields are the hyper-parameters, the two methods are the paper's algorithm box.

    `eps` is the radius of the ball an attack stays in, None for attacks that look for the smallest perturbation. What
    it `needs` of each look decides the price: a loss is a forward, a gradient a backward more, a jacobian one backward
    for each class in the state's own `candidates` (rows, classes).
    """

    needs: ClassVar[Needs]
    sentence: ClassVar[str]

    @property
    def norm(self) -> Norm:
        """What its perturbations are measured in."""
        ...

    @property
    def eps(self) -> float | None:
        """Radius of the ball, a fraction of the [0, 1] pixel range; None: unbounded."""
        ...

    @property
    def steps(self) -> int:
        """How many times each row is advanced at most, in each restart."""
        ...

    @property
    def restarts(self) -> int:
        """How often a row that has not succeeded starts again, the first time included."""
        ...

    @property
    def loss(self) -> str:
        """The objective to climb, a name in `losses.LOSSES`."""
        ...

    def start(self, state: AttackState, restart: int) -> AttackState:
        """Where the rows begin, given a state that stands on the clean images."""
        ...

    def advance(self, state: AttackState, output: Output) -> AttackState:
        """One step of every row."""
        ...


Keep = Literal["first", "worst", "nearest"]


class Trouble(IntFlag):
    """What went wrong for a row; 0 is nothing.

    ZERO_GRADIENT: a step was taken from a gradient that is zero everywhere.
    NONFINITE_GRADIENT: a gradient held NaN or infinity.
    OUTSIDE: the point left the ball, the unit box or the finite numbers; the row keeps its clean image instead.
    UNCONFIRMED: the point fooled the model inside the loop and not when it was checked again, in a pass of its own or
    in float64; the row keeps its clean image instead.
    SILENT: a foreign attack showed the model a point that fooled it and returned one that does not.
    CRASHED: a foreign attack failed on the row's batch; the row keeps its clean image.
    """

    ZERO_GRADIENT = 1
    NONFINITE_GRADIENT = 2
    OUTSIDE = 4
    UNCONFIRMED = 8
    SILENT = 16
    CRASHED = 32


@dataclass(frozen=True)
class Outcome:
    """One entry per row, in the order given.

    `x` is the kept point and `logits` the model's answer there in a pass of its own; a row that never succeeded keeps
    its clean image under `first` and `nearest`. `closest` is its answer where success was nearest, kept or not. `linf`,
    `l2` and `l1` are measured on `x`. `step` is the number of advances after which the row first succeeded: −1 never, 0
    before any, being wrong already or where the attack began. `loss_start` and `loss_kept` are the objective at the
    row's first and kept point. `forwards` and `backwards` count what each row cost. `trace` (rows, looks) has the loss
    of every look, NaN after a row was done; it has no columns unless it was asked for. `reasons` says why a foreign
    attack failed on a row, "" where it did not; it is empty for demur's own.
    """

    x: Images
    logits: Logits
    closest: Logits
    fooled: Flags
    linf: Scores
    l2: Scores
    l1: Scores
    step: Tensor
    loss_start: Scores
    loss_kept: Scores
    forwards: Tensor
    backwards: Tensor
    troubles: Tensor
    trace: Tensor
    reasons: tuple[str, ...] = ()

    def size(self, norm: str) -> Scores:
        """The change of each row in a norm; of changes that have none of their own, the largest of any pixel."""
        return {"l2": self.l2, "l1": self.l1}.get(norm, self.linf)
