"""Runs of linear layers, taken as one linear map."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from demur.lipschitz.norms import Norm, operator_norm


@dataclass(frozen=True)
class Step:
    """One affine operation, told from others by its name; `layers` are those of the model that it stands for."""

    name: str
    act: Callable[[Any], Any] = field(compare=False, repr=False)
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Affine operations one after the other, from a tensor of one shape.

    Merged they stretch no vector by more than the product of their norms, and often by much less.
    """

    shape: tuple[int, ...]
    steps: tuple[Step, ...] = ()

    def __call__(self, x: Tensor) -> Any:
        """What the operations make of x."""
        value: Any = x
        for step in self.steps:
            value = step.act(value)
        return value

    def then(self, *steps: Step) -> "Piece":
        """The piece with more behind it."""
        return replace(self, steps=self.steps + steps)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of the model inside, in their order, each once."""
        return tuple(dict.fromkeys(layer for step in self.steps for layer in step.layers))

    @property
    def name(self) -> str:
        """First and last of its layers."""
        return " … ".join(dict.fromkeys([self.layers[0], self.layers[-1]])) if self.layers else "nothing"

    def norm(self, like: Tensor) -> Norm:
        """Its operator norm, found in the precision of a tensor."""
        if not self.steps:
            return Norm.exactly(1.0)
        return operator_norm(self, torch.zeros(self.shape, dtype=like.dtype, device=like.device))


def beside(pieces: Sequence[Piece], join: Callable[[list[Any]], Any], how: str) -> Piece:
    """Pieces that read the same tensor, and what is made of their answers."""
    steps = [step.name for piece in pieces for step in (*piece.steps, Step("|", join))]
    layers = tuple(layer for piece in pieces for layer in piece.layers)
    act = Step(f"{how}({' '.join(steps)})", lambda x: join([piece(x) for piece in pieces]), layers)
    return Piece(pieces[0].shape, (act,))


def added(pieces: Sequence[Piece]) -> Piece:
    """The sum of pieces that read the same tensor."""
    return pieces[0] if len(pieces) == 1 else beside(pieces, _sum, "sum")


def _sum(values: Iterable[Any]) -> Any:
    total, *others = values
    for other in others:
        total = total + other
    return total
