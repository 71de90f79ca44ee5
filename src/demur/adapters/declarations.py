"""What the source of a model says of it before any data are opened: preprocessing, classes, outputs."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from demur.pictures.decode_rules import Rules
from demur.registry import Address


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a source says of a model; None where it says nothing.

    Attributes:
        rules: how pictures are cut, scaled and coloured for it.
        classes: the names of its classes, in the order of its outputs.
        outputs: how many outputs it has.
        input_shape: (channels, height, width) of what it reads.
        words: the same as lines for the report, normalisation included.
        transform: the library's own way from an RGB picture of Pillow to what the model is given, without the batch.
        shape_alone: whether of the rules only the size was said, and how pictures are brought to it is open.
    """

    rules: Rules | None = None
    classes: tuple[str, ...] | None = None
    outputs: int | None = None
    input_shape: tuple[int, int, int] | None = None
    words: tuple[str, ...] = ()
    transform: Callable[[Any], Tensor] | None = None
    shape_alone: bool = False


DECLARATIONS: Mapping[str, str] = {
    "export": "demur.adapters.exported_program:declare_exported",
    "hf": "demur.adapters.hf_models:declare_hf",
    "keras": "demur.adapters.keras_models:declare_keras",
    "onnx": "demur.adapters.onnx_model:declare_onnx",
    "timm": "demur.adapters.timm_models:declare_timm",
    "torchvision": "demur.adapters.torchvision_models:declare_torchvision",
    "zoo": "demur.adapters.packaged_weights:declare",
}
"""Scheme of a model address → function from the address to its `Declaration`; other schemes declare nothing."""


def declared(model_address: str) -> Declaration:
    """What the source at a model address says; this may load it, and opens no data.

    Raises:
        AddressError: the address leads nowhere.
        ModelError: what is there cannot be used.
        MissingExtraError: its library is not installed.
    """
    address = Address.parse(model_address, "model")
    line = DECLARATIONS.get(address.scheme)
    if line is None:
        return Declaration()
    module, _, name = line.partition(":")
    found: Declaration = getattr(importlib.import_module(module), name)(address)
    return found
