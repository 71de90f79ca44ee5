"""How many multiply-adds a classifier takes for one image, counted while it answers two."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from demur.classifier.bound_classifier import BoundClassifier
from demur.classifier.first_answer import made_up_images


def multiply_adds(classifier: BoundClassifier) -> int:
    """Those of convolutions, matrix products and attention, per image; a property of the model and of no machine."""
    probe = made_up_images(classifier.input_shape, classifier.device, classifier.dtype)
    counter, fused = _Counter(), torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # or whole layers pass as one operation
        with torch.no_grad(), counter:
            classifier.logits(probe)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.total // len(probe)


def _convolution(arguments: Sequence[Any], output: Tensor) -> int:
    """Every output sums over the weights of its filter; of a transposed one, every input goes to as many."""
    images, weight, transposed = arguments[0], arguments[1], arguments[6]
    return int((images if transposed else output).numel() * prod(weight.shape[1:]))


def _product(arguments: Sequence[Any], output: Tensor) -> int:
    """Every output is a sum over the last axis of the first factor; `addmm` and `baddbmm` have a summand before it."""
    factors = [each for each in arguments if isinstance(each, Tensor)][-2:]
    return int(output.numel() * factors[0].shape[-1])


def _attention(arguments: Sequence[Any], _output: object) -> int:
    """Queries times keys, and weights times values."""
    query, key, value = arguments[:3]
    return int(prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


_COUNTS: Mapping[str, Callable[[Sequence[Any], Any], int]] = MappingProxyType(
    {
        "convolution": _convolution,
        "addmm": _product,
        "mm": _product,
        "bmm": _product,
        "baddbmm": _product,
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_flash_attention": _attention,
        "_scaled_dot_product_efficient_attention": _attention,
    }
)
"""By the names of torch's operations."""


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what passes while it is entered."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        count = _COUNTS.get(func.overloadpacket.__name__)
        if count is not None:
            self.total += count(args, output[0] if isinstance(output, tuple) else output)
        return output
