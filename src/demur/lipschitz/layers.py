"""The linear layers of a model, each as one linear map, read off one pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from demur.lipschitz.linear import is_batch_norm, is_weighted
from demur.lipschitz.pieces import Piece, Step


@dataclass(frozen=True)
class Row:
    """A layer as the model calls it first: its name, what it is, and its map from an input of true size."""

    name: str
    kind: str
    piece: Piece


def layer_rows(module: nn.Module, probe: Tensor) -> list[Row]:
    """Convolutions and linear layers in the order of their first calls; batch normalisation of its own otherwise.

    Batch normalisation that reads just what a convolution or linear layer put out is folded into that layer's map. It
    needs no graph of the model; the hooks are gone afterwards.
    """
    return list(_folded(_calls(module, probe)))


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


def _folded(calls: Sequence[_Call]) -> Iterator[Row]:
    norms = {id(call.read): call for call in calls if is_batch_norm(call.layer)}
    weighted = [call for call in calls if is_weighted(call.layer)]
    taken = {norms[id(call.put)].name for call in weighted if id(call.put) in norms}
    for call in calls:
        if is_weighted(call.layer):
            behind = norms.get(id(call.put))
            kind = "linear" if isinstance(call.layer, nn.Linear) else "convolution"
            yield Row(call.name or kind, kind, _piece(call, *([behind] if behind else [])))
        elif call.name not in taken:
            yield Row(call.name or "batch norm", "batch norm", _piece(call))


def _piece(*calls: _Call) -> Piece:
    steps = [Step(call.name, call.layer, (call.name,)) for call in calls]
    return Piece((1, *calls[0].read.shape[1:]), tuple(steps))
