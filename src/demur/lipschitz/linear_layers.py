"""The linear layers of a model and runs of them, each as one linear map."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from demur.lipschitz.operation_constants import is_batch_norm, is_weighted
from demur.lipschitz.operator_norms import Norm, operator_norm


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


def adjacent(pieces: Sequence[Piece], join: Callable[[list[Any]], Any], how: str) -> Piece:
    """Pieces that read the same tensor, and what is made of their answers."""
    steps = [step.name for piece in pieces for step in (*piece.steps, Step("|", join))]
    layers = tuple(layer for piece in pieces for layer in piece.layers)
    act = Step(f"{how}({' '.join(steps)})", lambda x: join([piece(x) for piece in pieces]), layers)
    return Piece(pieces[0].shape, (act,))


def sum_of(pieces: Sequence[Piece]) -> Piece:
    """The sum of pieces that read the same tensor."""
    return pieces[0] if len(pieces) == 1 else adjacent(pieces, _sum, "sum")


def _sum(values: Iterable[Any]) -> Any:
    total, *others = values
    for other in others:
        total = total + other
    return total


@dataclass(frozen=True)
class LayerRow:
    """A layer as the model calls it first: its name, what it is, and its map from an input of true size."""

    name: str
    kind: str
    piece: Piece


def layer_rows(module: nn.Module, probe: Tensor) -> list[LayerRow]:
    """Convolutions and linear layers in the order of their first calls; batch normalisation of its own otherwise.

    Batch normalisation that reads just what a convolution or linear layer put out is folded into that layer's map. It
    needs no graph of the model; the hooks are gone afterwards.
    """
    return list(_rows_of_calls(_calls(module, probe)))


@dataclass(frozen=True, eq=False)
class _Call:
    name: str
    layer: nn.Module
    read: Tensor
    put: Tensor


def _calls(module: nn.Module, probe: Tensor) -> list[_Call]:
    calls: dict[str, _Call] = {}
    with ExitStack() as hooks, torch.no_grad():
        for name, layer in module.named_modules():
            if is_weighted(layer) or is_batch_norm(layer):
                hooks.enter_context(layer.register_forward_hook(_note(calls, name)))
        module(probe)
    return list(calls.values())


def _note(calls: dict[str, _Call], name: str) -> Callable[..., None]:
    def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            calls.setdefault(name, _Call(name, layer, inputs[0], output))

    return hook


def _rows_of_calls(calls: Sequence[_Call]) -> Iterator[LayerRow]:
    norms = {id(call.read): call for call in calls if is_batch_norm(call.layer)}
    weighted = [call for call in calls if is_weighted(call.layer)]
    taken = {norms[id(call.put)].name for call in weighted if id(call.put) in norms}
    for call in calls:
        if is_weighted(call.layer):
            behind = norms.get(id(call.put))
            kind = "linear" if isinstance(call.layer, nn.Linear) else "convolution"
            yield LayerRow(call.name or kind, kind, _piece(call, *([behind] if behind else [])))
        elif call.name not in taken:
            yield LayerRow(call.name or "batch norm", "batch norm", _piece(call))


def _piece(*calls: _Call) -> Piece:
    steps = [Step(call.name, call.layer, (call.name,)) for call in calls]
    return Piece((1, *calls[0].read.shape[1:]), tuple(steps))
