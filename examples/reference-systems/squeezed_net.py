"""A small net of digits that sees each image in few grey levels, as squeezing taken for a defence would have it.

Rounding has no gradient, so attacks that follow one stay where they start: a mask. Weights are those of the plain net.

    demur audit module:squeezed_net:one_bit@model.safetensors digits --plan 001-defences.toml
"""

from typing import Any

from torch import Tensor, nn

from demur.zoo import SimpleCNN


def squeezed(bits: int) -> nn.Module:
    """The net behind a bit depth: 1 leaves black and white, 3 eight levels of grey."""
    net, levels = SimpleCNN(channels=1, classes=10), 2**bits - 1

    def rounded(module: nn.Module, images: tuple[Tensor, ...]) -> Any:  # noqa: ARG001 - what torch calls a hook with
        return ((images[0] * levels).round() / levels,)

    net.register_forward_pre_hook(rounded)
    return net


def one_bit() -> nn.Module:
    """Black and white."""
    return squeezed(1)


def two_bits() -> nn.Module:
    """Four levels of grey."""
    return squeezed(2)


def three_bits() -> nn.Module:
    """Eight levels of grey."""
    return squeezed(3)
