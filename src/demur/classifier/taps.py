"""Hooks that keep what passes through layers and never outlive the call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from demur.errors import ModelError, unknown


@contextmanager
def outputs_of(module: nn.Module, layers: Sequence[str], rows: int) -> Iterator[Mapping[str, Tensor]]:
    """Fills the mapping with the first `rows` rows each named layer puts out while the context is open."""
    kept: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name in layers:
            hooks.enter_context(submodule(module, name).register_forward_hook(_keep_output(kept, name, rows)))
        yield kept


@contextmanager
def inputs_of(module: nn.Module, layers: Sequence[str], rows: int) -> Iterator[Mapping[str, Tensor]]:
    """Fills the mapping with the first `rows` rows each named layer takes in while the context is open."""
    kept: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name in layers:
            hooks.enter_context(submodule(module, name).register_forward_pre_hook(_keep_input(kept, name, rows)))
        yield kept


def layer_names(module: nn.Module) -> tuple[str, ...]:
    """The names of all layers inside a module."""
    return tuple(name for name, _ in module.named_modules() if name)


def submodule(module: nn.Module, name: str) -> nn.Module:
    """A layer by name; an unknown name fails with the nearest known one."""
    layers = dict(module.named_modules())
    if not name or name not in layers:
        raise unknown("layer", name, layer_names(module))
    return layers[name]


def heard(kept: Mapping[str, Tensor], name: str) -> Tensor:
    """What was kept of a layer; a layer that was never called is an error."""
    if name not in kept:
        raise ModelError(
            f"the layer {name!r} is part of the model but was not called when it answered, so it has no activations. "
            "Name a layer that its forward calls."
        )
    return kept[name]


def _keep_output(kept: dict[str, Tensor], name: str, rows: int) -> Callable[..., Tensor]:
    def hook(_layer: nn.Module, _inputs: tuple[Any, ...], output: object) -> Tensor:
        kept[name], onward = _fork(name, output, rows)
        return onward

    return hook


def _keep_input(kept: dict[str, Tensor], name: str, rows: int) -> Callable[..., tuple[Any, ...]]:
    def hook(_layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        kept[name], onward = _fork(name, inputs[0] if inputs else None, rows)
        return onward, *inputs[1:]

    return hook


def _fork(name: str, passing: object, rows: int) -> tuple[Tensor, Tensor]:
    """What is kept, and a copy that travels on in its place.

    The kept tensor stays on the way to the logits, so gradients with respect to it exist, and an in-place ReLU
    behind the layer changes the copy only.
    """
    if not isinstance(passing, Tensor):
        raise ModelError(
            f"the layer {name!r} passes a {type(passing).__name__}, not one tensor, so it cannot be listened to. "
            "Name a layer inside it."
        )
    if len(passing) == rows:
        return passing, passing.clone()
    kept = passing[:rows]
    return kept, torch.cat([kept, passing[rows:]])
