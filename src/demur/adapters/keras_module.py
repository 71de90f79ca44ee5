"""A model of Keras as a module of PyTorch: channels first, its layers to be listened to, its weights by their names."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from demur.classifier.first_answer import made_up_images
from demur.errors import ModelError
from demur.shapes import Images

_SIDE = 32
"""Pixels of a side that the file leaves open."""


class KerasLayer(nn.Module):
    """What a layer puts out, channels first, and the weights of it; passes on what it is given."""

    def forward(self, output: Tensor) -> Tensor:
        """The output itself."""
        return output


class KerasNorm(KerasLayer):
    """The same of a layer that normalises: its scales are 1 before a training, not drawn."""


class KerasModule(nn.Module):
    """A model of Keras that reads images channels first, in any number, always as when it is put to use.

    Keras shows PyTorch no layers, and names its weights anew each time it is loaded: so it is no submodule. For each of
    its layers there is one that is handed what the layer puts out, channels first, as `layers.NAME`.

    Args:
        net: the model of Keras, up to what the head reads where there is a head.
        head: a last linear layer in the place of Keras's own.
        scale: what pixels are multiplied by.
        channels_last: whether it reads images channels last.
        identity: the sha256 of what is said of it beside its weights.
    """

    def __init__(self, net: Any, head: nn.Linear | None, *, scale: float, channels_last: bool, identity: bytes) -> None:
        super().__init__()
        self._net, self._channels_last, self._scale = (net,), channels_last, scale
        self.register_buffer("identity", torch.tensor(list(identity), dtype=torch.uint8))
        self.layers = nn.ModuleDict({name: _listener(layer) for name, layer in keras_layers(net)})
        self.head = head
        self.eval()

    def forward(self, x: Images) -> Tensor:
        """What the model answers."""
        import keras

        (net,) = self._net
        given = x * self._scale
        if self._channels_last:
            given = given.permute(0, 2, 3, 1)
        with ExitStack() as open_, keras.device(str(x.device).replace("cuda", "gpu")):
            for name, layer in keras_layers(net):
                open_.enter_context(layer.register_forward_hook(partial(self._tell, self.layers[name])))
            answer: Tensor = net(given, training=False)
        return answer if self.head is None else self.head(answer)

    def _tell(self, listener: nn.Module, _layer: object, _inputs: object, output: object) -> object:
        if not isinstance(output, Tensor):
            return output
        if output.ndim == 4 and self._channels_last:
            told: Tensor = listener(output.permute(0, 3, 1, 2))
            return told.permute(0, 2, 3, 1)
        return listener(output)

    def __deepcopy__(self, memo: dict[int, Any]) -> "KerasModule":
        return self._remade(copy.deepcopy(self._net[0], memo), copy.deepcopy(self.head, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return self._remade, (*self._net, self.head)

    @property
    def _remade(self) -> Callable[..., "KerasModule"]:
        """The same of another copy of the model and of the head."""
        identity = bytes(self.get_buffer("identity").tolist())
        return partial(KerasModule, scale=self._scale, channels_last=self._channels_last, identity=identity)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "KerasModule":  # noqa: ARG002, FBT001, FBT002 - torch's own
        """Weights on another device or in another precision are still those of Keras's variables."""
        for weight in (*self.parameters(), *self.buffers()):
            weight.data = fn(weight.data)
        found = next((each.dtype for each in self.parameters() if each.is_floating_point()), torch.float32)
        precision = str(found).removeprefix("torch.")
        for layer in self._net[0]._flatten_layers():  # noqa: SLF001 - composite layers show theirs nowhere else
            layer.dtype_policy = precision
            for tensor in getattr(layer, "inputs", None) or ():
                tensor._dtype = precision  # noqa: SLF001 - images are rounded to it
        if found == torch.float64:
            self._check_precision()
        return self

    def _check_precision(self) -> None:
        """Refuse double precision where a layer of Keras rounds to single, as normalising and averaging do.

        Raises:
            ModelError: there is such a layer.
        """
        sides = [side or _SIDE for side in self._net[0].input_shape[1:]]
        shape = (sides[2], sides[0], sides[1]) if self._channels_last else (sides[0], sides[1], sides[2])
        rounded: list[str] = []

        def note(name: str, _listener: nn.Module, _inputs: object, output: Tensor) -> None:
            if output.any() and torch.equal(output, output.float().double()):
                rounded.append(name)

        with ExitStack() as hooks, torch.no_grad():
            for name, listener in self.layers.items():
                hooks.enter_context(listener.register_forward_hook(partial(note, name)))
            self(made_up_images(shape, next(self.parameters()).device, torch.float64))
        if rounded:
            raise ModelError(
                f"Keras rounds to single precision in its layer {rounded[0]}, so nothing behind it is exact."
            )


def keras_layers(net: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """Every layer of a model of Keras by name, those of models inside it with their names before."""
    for layer in net.layers:
        name = within + str(layer.name).replace(".", "_")
        yield name, layer
        if getattr(layer, "layers", None):
            yield from keras_layers(layer, f"{name}/")


_NAMES: Mapping[str, str] = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
"""Names of weights in Keras and in PyTorch."""


def _listener(layer: Any) -> nn.Module:
    """What stands for a layer of Keras."""
    import keras

    if isinstance(layer, keras.layers.SpatialDropout2D):
        return nn.Dropout2d(layer.rate)
    if isinstance(layer, keras.layers.Dropout):
        return nn.Dropout(layer.rate)
    found = KerasNorm() if "Normalization" in type(layer).__name__ else KerasLayer()
    for variable in () if getattr(layer, "layers", None) else layer.weights:
        place = str(variable.path).split("/")
        name = "_".join(place[place.index(layer.name) + 1 :] if layer.name in place else place[-1:])
        _keep(found, _NAMES.get(name, name).replace(".", "_"), variable)
    return found


def _keep(found: nn.Module, name: str, variable: Any) -> None:
    """A weight that is learned as a parameter, any other as a buffer; counters of random draws are neither."""
    value: Tensor = variable.value
    if variable.trainable:
        found.register_parameter(name, value if isinstance(value, nn.Parameter) else nn.Parameter(value))
    elif value.is_floating_point():
        found.register_buffer(name, value)
