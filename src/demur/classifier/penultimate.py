"""Where a model's features are read, and its head when that is linear."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from demur.classifier.contract import Output
from demur.classifier.outputs import against_zero, columns, spoken
from demur.classifier.taps import heard, inputs_of, layer_names, outputs_of, submodule
from demur.shapes import Features

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
                yield lambda: vectors(heard(kept, self.layer or ""))
        elif self.head is not None:
            with inputs_of(module, [self.head_name], rows) as kept:
                yield lambda: vectors(heard(kept, self.head_name))
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


def find(module: nn.Module, probe: Tensor, output: Output, named: str | None) -> Penultimate:
    """The penultimate features of a module, by one forward pass of prepared images.

    The head is the last `nn.Linear`, in module order, that the pass shows to produce the model's answer; its input is
    the features. With `named`, features are that layer's output, and the head is kept only if it reads just them.
    """
    linear = [name for name in layer_names(module) if isinstance(submodule(module, name), nn.Linear)]
    layers = [named] if named else []
    rows = len(probe)
    with torch.no_grad(), inputs_of(module, linear, rows) as taken, outputs_of(module, layers, rows) as put:
        raw = columns(module(probe))
    head_name = next((name for name in reversed(linear) if _answers(module, name, taken, raw, output)), "")
    head = submodule(module, head_name) if head_name else None
    assert head is None or isinstance(head, nn.Linear)
    if named is None:
        return Penultimate(head=head, head_name=head_name)
    features = vectors(heard(put, named))
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
