"""Batch normalisation folded into the convolution before it: the same function of the images, at a smaller price."""

from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from demur.errors import ModelError

Call: TypeAlias = tuple[str, object, object]
"""A layer's name, its first input and its output."""


def fold(module: nn.Module, prepared: Tensor) -> nn.Module:
    """The module, with every batch normalisation folded into the convolution whose outputs it is given.

    What passes between layers is seen in one pass. Who else reads those outputs is not: whoever folds compares answers.

    Args:
        module: in evaluation mode; it is changed, and takes no gradient any more.
        prepared: what it is given for some images.

    Raises:
        ModelError: there is no such pair.
    """
    calls = list[Call]()
    with ExitStack() as hooks, torch.no_grad():
        for name, layer in module.named_modules():
            if _folds(layer):
                hooks.enter_context(layer.register_forward_hook(partial(_note, calls, name)))
        module(prepared)
    pairs = _pairs(module, calls)
    if not pairs:
        raise ModelError("the model has no batch normalisation behind a convolution.")
    for convolution, norm in pairs:
        layer, normalise = module.get_submodule(convolution), module.get_submodule(norm)
        assert isinstance(layer, nn.Conv2d)
        assert isinstance(normalise, nn.BatchNorm2d)
        _put(module, convolution, fuse_conv_bn_eval(layer, normalise))
        _put(module, norm, nn.Identity().eval())
    return module.requires_grad_(requires_grad=False)


def _folds(layer: nn.Module) -> bool:
    """Whether a layer may be one of a pair; a batch normalisation of a kind of its own may do more than normalise."""
    return isinstance(layer, nn.Conv2d) or (type(layer) is nn.BatchNorm2d and layer.running_mean is not None)


def _note(calls: list[Call], name: str, _layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
    calls.append((name, inputs[0] if inputs else None, output))


def _pairs(module: nn.Module, calls: list[Call]) -> list[tuple[str, str]]:
    """Convolutions and batch normalisations, each called once, of which the second was given what the first put out."""
    counts = Counter(name for name, _, _ in calls)
    once = [call for call in calls if counts[call[0]] == 1]
    outputs = {id(output): name for name, _, output in once if isinstance(module.get_submodule(name), nn.Conv2d)}
    readers = Counter(id(read) for _, read, _ in calls)
    return [
        (outputs[id(read)], name)
        for name, read, _ in once
        if id(read) in outputs and readers[id(read)] == 1 and not isinstance(module.get_submodule(name), nn.Conv2d)
    ]


def _put(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, layer)
