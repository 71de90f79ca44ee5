"""Both ends of a model of Keras: what scale of pixels it begins with, and the logits before its last activation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from demur.adapters.keras_module import keras_layers
from demur.classifier.contract import Output

_BYTES = 255.0
_SMALL = 0.02
"""A factor below which what it is multiplied with must be 0–255: it makes no more than 5 of it."""

_LARGE_MEAN = 2.0


@dataclass(frozen=True, kw_only=True)
class KerasEnd:
    """A model without its last activation.

    Attributes:
        net: the model, up to what the head reads where there is one.
        head: its last layer, where that is linear.
        output: what it now puts out; None where that is to be seen from its answers.
        sentence: what was done.
    """

    net: Any
    head: nn.Linear | None
    output: Output | None
    sentence: str


def without_last_activation(model: Any) -> KerasEnd:
    """The model up to its logits: softmax and sigmoid at its very end are left out, which is exact.

    Of a model whose last layer is another model, the activation inside it is taken off in place.
    """
    last = _last(model)
    name = _activation(last)
    if name not in {"softmax", "sigmoid", "linear"}:
        return KerasEnd(net=model, head=None, output=None, sentence="its answers are taken as they are")
    logits: Output = "logit" if model.output_shape[-1] == 1 else "logits"
    said = "its last layer is linear" if name == "linear" else f"the {name} at its end is left out: logits are exact"
    net, head = _cut(model, last)
    return KerasEnd(net=net, head=head, output=logits, sentence=said)


def _last(model: Any) -> Any:
    """The layer that puts out the answer, inside models that are layers."""
    found = model.outputs[0]._keras_history.operation  # noqa: SLF001 - the only way that fits all models
    return _last(found) if getattr(found, "outputs", None) and getattr(found, "layers", None) else found


def _activation(layer: Any) -> str | None:
    """The name of the activation that a layer ends with; None where it is of another kind."""
    import keras

    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    if not isinstance(layer, (keras.layers.Activation, keras.layers.Dense)):
        return None
    return getattr(layer.activation, "__name__", None)


def _cut(model: Any, last: Any) -> tuple[Any, nn.Linear | None]:
    """The model before its last activation, and the linear layer that it then ends with, where it is its own."""
    import keras

    own = model.outputs[0]._keras_history.operation is last  # noqa: SLF001
    if not own or not isinstance(last, keras.layers.Dense):
        if not isinstance(last, keras.layers.Softmax):
            last.activation = keras.activations.linear
        if not own or not isinstance(last, (keras.layers.Activation, keras.layers.Softmax)):
            return model, None
        before = last.input._keras_history.operation  # noqa: SLF001
        if isinstance(before, keras.layers.Dense) and _activation(before) == "linear" and len(before.input.shape) == 2:
            return _up_to(model, before.input), _linear(before)
        return _up_to(model, last.input), None
    if len(last.input.shape) != 2:
        last.activation = keras.activations.linear
        return model, None
    return _up_to(model, last.input), _linear(last)


def _up_to(model: Any, tensor: Any) -> Any:
    import keras

    return keras.Model(model.inputs, tensor, name="features")


def _linear(dense: Any) -> nn.Linear:
    """A dense layer of Keras as one of PyTorch."""
    kernel: torch.Tensor = dense.kernel.value.detach()
    inputs, outputs = kernel.shape
    with torch.no_grad():
        found = nn.Linear(inputs, outputs, bias=dense.bias is not None, dtype=kernel.dtype, device=kernel.device)
        found.weight.copy_(kernel.T)
        if dense.bias is not None:
            found.bias.copy_(dense.bias.value)
    return found


def pixel_scale(model: Any) -> tuple[float, str] | None:
    """What the largest pixel is to a model whose first layers say so, and how they do; None where none do."""
    import keras

    for layer in _first_layers(model):
        if isinstance(layer, keras.layers.Rescaling):
            small = bool(torch.as_tensor(layer.scale).abs().max() <= _SMALL)
            return (_BYTES if small else 1.0), f"by its layer {layer.name}, which multiplies them by {layer.scale:.4g}"
        if isinstance(layer, keras.layers.Normalization):
            mean = float(torch.as_tensor(layer.mean).abs().max())
            return (_BYTES if mean > _LARGE_MEAN else 1.0), f"by its layer {layer.name}, whose mean is {mean:.4g}"
    return None


def _first_layers(model: Any) -> Iterator[Any]:
    """The layers of a model up to the first that has learned weights."""
    import keras

    for _, layer in keras_layers(model):
        if layer.weights and not isinstance(layer, keras.layers.Normalization) and not getattr(layer, "layers", None):
            return
        yield layer
