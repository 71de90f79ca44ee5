"""Dropout that drops in evaluation mode."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from demur.errors import ModelError
from demur.randomness import uniform

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
    if not layers:
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
