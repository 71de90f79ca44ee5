"""What an attack carries from step to step, what a forward pass gives it, and what it did to each row."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntFlag
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from demur.randomness import uniform
from demur.shapes import Flags, Images, Labels, Logits, Scores

Norm = Literal["linf", "l2", "l1", "none"]
"""How perturbations are measured; "none" for changes that have no size, such as rotations."""

Needs = Literal["loss", "gradient", "jacobian"]

Keep = Literal["first", "worst", "nearest"]
"""Which point of a row is returned: its first success, its worst point in the ball or its nearest success."""


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
        done: rows that need no further step: set by `start`, they take no pass; by `advance`, they are judged
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
            return self.__dict__["_own"][name]  # while a copy is made there is none yet
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
        fields: dict[str, Any] = {
            n: None if v is None else torch.cat([v, theirs[n]]) for n, v in self._fields().items()
        }
        return AttackState(**fields)

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


class Trouble(IntFlag):
    """What went wrong for a row; 0 is nothing.

    ZERO_GRADIENT: a step was taken from a gradient that is zero everywhere.
    NONFINITE_GRADIENT: a gradient held NaN or infinity.
    OUTSIDE: the point left the ball, the unit box or the finite numbers; the row keeps its clean image instead.
    UNCONFIRMED: the point fooled the model inside the loop and not when it was checked again, in a pass of its own or
    in float64; the row keeps its clean image instead.
    SILENT: an external attack gave the model a point that fooled it and returned one that does not.
    CRASHED: an external attack failed on the row alone; the row keeps its clean image.
    """

    ZERO_GRADIENT = 1
    NONFINITE_GRADIENT = 2
    OUTSIDE = 4
    UNCONFIRMED = 8
    SILENT = 16
    CRASHED = 32


FlagScope = Literal["gradients", "all", "external"]


@dataclass(frozen=True, kw_only=True)
class Flag:
    """How a trouble of rows is judged: the shares above which it is a warning, and surely a failure.

    `scope` says of which rows: those with a gradient, all attacked ones, those of external attacks.
    """

    bit: int
    name: str
    sentence: str
    scope: FlagScope
    warn: float
    fail: float


FLAGS: tuple[Flag, ...] = (
    Flag(
        bit=Trouble.ZERO_GRADIENT.value,
        name="gradients are there",
        sentence="Attacked images whose gradient was zero everywhere at some step",
        scope="gradients",
        warn=0.01,
        fail=0.10,
    ),
    Flag(
        bit=Trouble.NONFINITE_GRADIENT.value,
        name="gradients are finite",
        sentence="Attacked images whose gradient was NaN or infinite at some step",
        scope="gradients",
        warn=0.0,
        fail=0.01,
    ),
    Flag(
        bit=Trouble.OUTSIDE.value,
        name="attacks stay inside",
        sentence="Attacked images that left their ball or the pixel range and were discarded",
        scope="all",
        warn=0.0,
        fail=0.01,
    ),
    Flag(
        bit=Trouble.UNCONFIRMED.value,
        name="successes are confirmed",
        sentence="Attacked images that fooled the model once and not when evaluated again",
        scope="all",
        warn=0.01,
        fail=0.05,
    ),
    Flag(
        bit=Trouble.SILENT.value,
        name="attacks return what they find",
        sentence="Images that an attack from elsewhere had fooled the model with and gave back unsolved",
        scope="external",
        warn=0.0,
        fail=0.01,
    ),
    Flag(
        bit=Trouble.CRASHED.value,
        name="attacks do not crash",
        sentence="Images on which an attack from elsewhere failed; they count as robust",
        scope="external",
        warn=0.0,
        fail=0.01,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """One entry per row, in the order given.

    `x` is the kept point and `logits` the model's answer there in a pass of its own; a row that never succeeded keeps
    its clean image under `first` and `nearest`. `closest` is its answer where success was nearest, kept or not. `linf`,
    `l2` and `l1` are measured on `x`. `step` is the number of advances after which the row first succeeded: −1 never, 0
    before any, being wrong already or where the attack began. `loss_start` and `loss_kept` are the objective at the
    row's first and kept point. `forwards` and `backwards` count what each row cost. `trace` (rows, steps) has the loss
    at every step, NaN after a row was done; it has no columns unless the caller wants it. `extra` has what only some
    attacks say, as columns of a record: `target`, `stage`, `stage.kept`, `passes.<stage>`, `spent.scan`,
    `spent.refine`, `crash`, `batch.size`.
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
    extra: Mapping[str, tuple[object, ...]] = field(default_factory=dict)

    def size(self, norm: str) -> Scores:
        """The change of each row in a norm; of changes that have none of their own, the largest of any pixel."""
        return {"l2": self.l2, "l1": self.l1}.get(norm, self.linf)
