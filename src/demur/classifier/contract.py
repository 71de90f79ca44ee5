"""What a model declares, what it offers beyond its answers, and a hash that tells two classifiers apart."""

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from demur.errors import ModelError, brief, legible, unknown

Output = Literal["logits", "probabilities", "sigmoid", "logit"]

_LARGEST_MEAN = 2.0  # a mean above this was measured on 0–255 pixels


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The classes a model knows, the images it reads and what its outputs mean.

    `input_shape` is (channels, height, width); `mean` and `std` are per channel, in the [0, 1] pixel range. `output` is
    a `kind`, or one with the name of a `part` of the model's answer behind it, such as `logits:main`.
    """

    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    output: str = "logits"

    def __post_init__(self) -> None:
        _check_classes(self.classes)
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise ModelError(
                f"`input_shape` is (channels, height, width), three positive integers; got {self.input_shape}."
            )
        if self.output.partition(":")[0] not in get_args(Output):
            raise ModelError(
                f"{unknown('output', self.output, get_args(Output))} A part of the model's answer is named behind "
                "one of these, such as logits:main."
            )
        if self.kind == "logit" and len(self.classes) != 2:
            raise ModelError(
                f"output 'logit' is one number that speaks for the second of two classes; got {len(self.classes)} "
                "classes. Name the two classes, or declare output='logits'."
            )
        for field, values in (("mean", self.mean), ("std", self.std)):
            if values is not None:
                self._check_channels(field, values)
        self._check_scale(self.mean or (), self.std or ())

    @property
    def kind(self) -> Output:
        """What the outputs are."""
        return cast(Output, self.output.partition(":")[0])

    @property
    def part(self) -> str:
        """The part of the model's answer that was named; empty where none was."""
        return self.output.partition(":")[2]

    def _check_channels(self, field: str, values: Sequence[float]) -> None:
        channels = self.input_shape[0]
        if len(values) != channels:
            raise ModelError(
                f"`{field}` takes one value per channel; got {len(values)} for images of {channels} channel(s). "
                f"Give {channels} value(s) or the right input_shape."
            )
        if not all(math.isfinite(value) for value in values):
            raise ModelError(f"`{field}` must be finite; got {values}.")

    def _check_scale(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if any(value <= 0 for value in std):
            raise ModelError(f"`std` must be positive; got {std}.")
        if any(abs(value) > _LARGEST_MEAN for value in mean):
            raise ModelError(
                f"`mean` must be on the scale of images in [0, 1]; got {mean}, which looks like 0–255. "
                "Divide mean and std by 255."
            )


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a classifier offers beyond its answers; determined once, on two fixed images.

    `gradients`: its answers are differentiable functions of the images. `layers`: it has named layers, whose outputs
    may be asked for. `linear_head`: its logits are linear in its features, with weights that are known. `module`: it
    has weights of PyTorch's, so that they can be drawn anew, put in another precision and on another device.
    `deterministic`: it answers the same images alike.
    """

    gradients: bool
    layers: bool
    linear_head: bool
    module: bool
    deterministic: bool


def _check_classes(classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise ModelError(
            f"a classifier chooses among at least two classes; got {len(classes)} {tuple(classes)}. "
            "Name every class, in the order of the model's outputs."
        )
    hidden = [name for name in classes if not name.strip() or legible(name) != name]
    if hidden:
        raise ModelError(
            f"a class is called '{brief(legible(hidden[0]))}', which is empty or holds characters that no screen shows."
            " Rename it."
        )
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise ModelError(f"class names must differ from each other; {twice[0]!r} is named twice. Rename one.")


def fingerprint(module: nn.Module, contract: Contract, without: Collection[str] = ()) -> str:
    """The sha256 of layers, weights, buffers and contract, whatever their order, device or memory layout.

    Counters of seen batches are left out: they do not take part in an answer, and some files do not carry them. So
    are buffers named in `without`, which change whenever the model is asked.
    """
    digest = hashlib.sha256()
    for field, value in sorted(asdict(contract).items()):
        digest.update(f"{field}={value!r};".encode())
    for name, layer in sorted(module.named_modules(), key=lambda pair: pair[0]):
        digest.update(f"{name}:{type(layer).__name__};".encode())
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor) and not name.endswith("num_batches_tracked") and name not in without:
            digest.update(f"{name}:{tensor.dtype}{tuple(tensor.shape)};".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
