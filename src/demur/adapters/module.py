"""`module:PKG.MOD:FACTORY[@FILE.safetensors][?…]`: one's own architecture, importable or in the current directory."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from demur.adapters.options import Options
from demur.adapters.weights import load_weights
from demur.classifier import Classifier
from demur.errors import AddressError, ModelError, unknown
from demur.registry import Address


def load(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> Classifier:
    """The classifier at a `module:` address."""
    options = Options.read(address, classes, input_shape)
    module = _build(address.location)
    if address.weights is not None:
        load_weights(module, address.weights)
    return options.wrap(module)


def _build(location: str) -> nn.Module:
    """What FACTORY() returns, or FACTORY itself where it is a module already."""
    name, colon, attribute = location.partition(":")
    if not colon or not name or not attribute:
        raise AddressError(
            f"module:{location} must name a Python module and what builds the network in it. "
            "Write module:PKG.MOD:FACTORY, such as module:mynets.resnet:resnet20."
        )
    made = getattr(_imported(name), attribute, None)
    if made is None:
        raise AddressError(f"module:{location}: {unknown('factory', attribute, _public(name))}")
    if not isinstance(made, nn.Module):
        made = _called(made, location)
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"module:{location} must give a torch.nn.Module; it gave a {type(made).__name__}. "
            "Name a class of modules or a function that returns one."
        )
    return made


def _imported(name: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise AddressError(
            f"cannot import {name!r} ({error}). A module: address names a Python module that is installed or lies in "
            "the current directory."
        ) from error


def _called(factory: object, location: str) -> object:
    if not callable(factory):
        return factory
    try:
        return factory()
    except TypeError as error:
        raise ModelError(
            f"module:{location} is called without arguments, and that failed: {error}. "
            "Write a function without parameters that builds the network, and name it."
        ) from error


def _public(name: str) -> list[str]:
    return [attribute for attribute in vars(sys.modules[name]) if not attribute.startswith("_")]
