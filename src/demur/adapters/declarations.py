"""What the source of a model says of it before any data are opened: preprocessing, classes, outputs."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

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
    """

    rules: Rules | None = None
    classes: tuple[str, ...] | None = None
    outputs: int | None = None
    input_shape: tuple[int, int, int] | None = None
    words: tuple[str, ...] = ()


DECLARATIONS: Mapping[str, str] = {}
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
