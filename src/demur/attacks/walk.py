"""What an attack carries from step to step, and what it is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from demur.randomness import Keys
from demur.shapes import Flags, Images, Labels, Logits, Scores

Norm = Literal["linf", "l2"]


class Walk:
    """A frozen bundle of tensors that all lead with the row axis.

    `x` is where each row stands and `y` its label; an attack keeps whatever else it needs under names of its own
    (`walk.low`, `walk.radius`), and the harness gathers and joins rows without knowing what they mean.
    """

    def __init__(self, *, x: Images, y: Labels, **own: Tensor) -> None:
        self.x = x
        self.y = y
        self._own: Mapping[str, Tensor] = MappingProxyType(own)

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self._own[name]
        except KeyError:
            raise AttributeError(name) from None

    def __len__(self) -> int:
        return len(self.x)

    def at(self, x: Images, **changes: Tensor) -> "Walk":
        """The same rows at new places, with some of the attack's own tensors replaced."""
        return Walk(x=x, y=self.y, **{**self._own, **changes})

    def rows(self, index: Tensor) -> "Walk":
        """Some of the rows."""
        return Walk(x=self.x[index], y=self.y[index], **{name: value[index] for name, value in self._own.items()})

    def join(self, other: "Walk") -> "Walk":
        """These rows, then the other's."""
        own = {name: torch.cat([value, getattr(other, name)]) for name, value in self._own.items()}
        return Walk(x=torch.cat([self.x, other.x]), y=torch.cat([self.y, other.y]), **own)


@dataclass(frozen=True)
class Seen:
    """What the model shows at `walk.x`.

    `loss` is the attack's own objective, which it climbs; `gradient` is its gradient with respect to the images;
    `fooled` marks rows that already succeed there; `step` counts the advances each row has made.
    """

    logits: Logits
    loss: Scores
    gradient: Images
    fooled: Flags
    step: Tensor


class Attack(Protocol):
    """A frozen dataclass: fields are the hyper-parameters, the two methods are the paper's algorithm box.

    `eps` is the radius of the ball an attack stays in, None for attacks that look for the smallest perturbation.
    """

    norm: ClassVar[Norm]
    sentence: ClassVar[str]

    @property
    def eps(self) -> float | None:
        """Radius of the ball, a fraction of the [0, 1] pixel range; None: unbounded."""
        ...

    @property
    def steps(self) -> int:
        """How many times each row is advanced at most."""
        ...

    @property
    def loss(self) -> str:
        """The objective to climb, a name in `losses.LOSSES`."""
        ...

    def start(self, x: Images, y: Labels, keys: Keys) -> Walk:
        """Where the rows begin."""
        ...

    def advance(self, walk: Walk, seen: Seen) -> Walk:
        """One step of every row."""
        ...
