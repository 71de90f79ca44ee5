"""Modes of layers, and hooks that read what passes through them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from demur.classifier.contract import Output
from demur.classifier.fixed_batch import FixedBatch
from demur.classifier.outputs import against_zero, columns, spoken
from demur.errors import ModelError, unknown
from demur.randomness import uniform
from demur.shapes import Features

_BY_VALUE = (nn.Dropout,)
_BY_CHANNEL = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@contextmanager
def dropping(module: nn.Module, seeds: Tensor, step: int) -> Iterator[None]:
    """Every dropout layer drops inside; what is dropped is drawn from each row's seed, the layer's name and the step.

    No layer changes its mode, so batch normalisation stays as it is, and no hook is left behind.

    Raises:
        ModelError: there is no layer that would drop anything.
    """
    layers = {name: layer for name, layer in module.named_modules() if _drops(layer)}
    if not layers or isinstance(module, FixedBatch):
        raise ModelError(
            "the model has no dropout layer that drops (torch.nn.Dropout, Dropout1d, Dropout2d or Dropout3d with "
            "0 < p < 1), so its answers do not vary. Leave out the signals that need it."
        )
    calls = Counter[str]()
    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_hook(_drop(name, calls, seeds, step)))
        yield


def _drops(layer: nn.Module) -> bool:
    return isinstance(layer, (*_BY_VALUE, *_BY_CHANNEL)) and 0 < layer.p < 1


def _drop(name: str, calls: Counter[str], seeds: Tensor, step: int) -> Callable[..., Tensor]:
    def hook(layer: Any, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        calls[name] += 1  # a layer that is called twice in one pass draws twice
        kept = output[: len(seeds)]  # a lone image travels twice
        flat = isinstance(layer, _BY_VALUE) or kept.ndim == 2  # a vector's maps are its values
        each = kept if flat else kept.flatten(start_dim=2)[:, :, 0]
        stays = uniform(seeds.to(output.device), f"dropout {name} {calls[name]}", each, step) >= layer.p
        mask = stays.to(output.dtype) / (1 - layer.p)
        mask = mask.view(*mask.shape, *[1] * (kept.ndim - mask.ndim))
        return torch.cat([kept * mask, output[len(seeds) :]])

    return hook


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


@contextmanager
def noting_outputs(module: nn.Module, note: Callable[[str, object], None]) -> Iterator[None]:
    """A function is called inside with the name and output of each layer, as it is called."""

    def hook(name: str, _layer: nn.Module, _inputs: tuple[Any, ...], output: object) -> None:
        note(name, output)

    with ExitStack() as hooks:
        for name in layer_names(module):
            hooks.enter_context(module.get_submodule(name).register_forward_hook(partial(hook, name)))
        yield


def layer_names(module: nn.Module) -> tuple[str, ...]:
    """The names of all layers inside a module that can be listened to.

    Those of a scripted one cannot, nor those of one that is asked about a few images at a time.
    """
    if isinstance(module, FixedBatch):
        return ()
    hidden = torch.jit.ScriptModule
    return tuple(name for name, layer in module.named_modules() if name and not isinstance(layer, hidden))


def submodule(module: nn.Module, name: str) -> nn.Module:
    """A layer by name; an unknown name fails with the nearest known one."""
    layers = dict(module.named_modules())
    if not name or name not in layers:
        raise unknown("layer", name, layer_names(module))
    return layers[name]


def kept_output(kept: Mapping[str, Tensor], name: str) -> Tensor:
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
    behind the layer changes the copy only. Without gradients the copy is kept: a layer may use its memory again.
    """
    if not isinstance(passing, Tensor):
        raise ModelError(
            f"the layer {name!r} passes a {type(passing).__name__}, not one tensor, so it cannot be listened to. "
            "Name a layer inside it."
        )
    if not torch.is_grad_enabled():
        return passing[:rows].clone(), passing
    if len(passing) == rows:
        return passing, passing.clone()
    kept = passing[:rows]
    return kept, torch.cat([kept, passing[rows:]])


_TOLERANCE = 1e-4  # relative to the largest output: room for another kernel, not for another layer


@dataclass(frozen=True, eq=False)
class Penultimate:
    """The input of the linear `head`, or else the output of a named `layer`."""

    head: nn.Linear | None = None
    head_name: str = ""
    layer: str | None = None

    @contextmanager
    def read(self, module: nn.Module, rows: int) -> Iterator[Callable[[], Features | None]]:
        """A context around a forward pass; afterwards the function gives its features, None where unknown."""
        if self.layer is not None:
            with outputs_of(module, [self.layer], rows) as kept:
                yield lambda: vectors(kept_output(kept, self.layer or ""))
        elif self.head is not None:
            with inputs_of(module, [self.head_name], rows) as kept:
                yield lambda: vectors(kept_output(kept, self.head_name))
        else:
            yield lambda: None

    def weights(self) -> tuple[Tensor, Tensor] | None:
        """Weight (classes, width) and bias (classes), so that features·weightᵀ + bias are the logits.

        For probabilities they are the logits up to one constant per row. A head of one unit gets a zero row first.
        """
        if self.head is None:
            return None
        weight = self.head.weight.detach()
        bias = weight.new_zeros(len(weight)) if self.head.bias is None else self.head.bias.detach()
        if len(weight) == 1:
            return against_zero(weight.T).T, against_zero(bias[:, None])[0]
        return weight, bias


def find_penultimate(
    module: nn.Module, probe: Tensor, output: Output, named: str | None, read: Callable[[object], Tensor] = columns
) -> Penultimate:
    """The penultimate features of a module, by one forward pass of prepared images.

    The head is the last `nn.Linear`, in module order, that the pass shows to produce the model's answer; its input is
    the features. With `named`, features are that layer's output, and the head is kept only if it reads just them.
    `read` finds the outputs in the module's raw answer.
    """
    linear = [name for name in layer_names(module) if isinstance(submodule(module, name), nn.Linear)]
    layers = [named] if named else []
    rows = len(probe)
    with torch.no_grad(), inputs_of(module, linear, rows) as taken, outputs_of(module, layers, rows) as put:
        raw = read(module(probe))
    head_name = next((name for name in reversed(linear) if _answers(module, name, taken, raw, output)), "")
    head = submodule(module, head_name) if head_name else None
    assert head is None or isinstance(head, nn.Linear)
    if named is None:
        return Penultimate(head=head, head_name=head_name)
    features = vectors(kept_output(put, named))
    same = head is not None and _close(features, taken[head_name])
    return Penultimate(head=head if same else None, head_name=head_name if same else "", layer=named)


def vectors(activation: Tensor) -> Features:
    """One vector per row: maps are averaged over their pixels, anything else is flattened."""
    return activation.mean(dim=(2, 3)) if activation.ndim == 4 else activation.flatten(start_dim=1)


def _answers(module: nn.Module, name: str, taken: Mapping[str, Tensor], raw: Tensor, output: Output) -> bool:
    if name not in taken or taken[name].ndim != 2:
        return False
    last = submodule(module, name)(taken[name])
    return any(_close(answer, raw) for answer in spoken(last, output))


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return bool((one - other).abs().max() <= _TOLERANCE * max(1.0, float(other.abs().max())))
