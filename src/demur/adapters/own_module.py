"""`module:PKG.MOD:FACTORY[@FILE][?…]`: one's own architecture, importable or in the current directory."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from demur.adapters.address_options import Options
from demur.adapters.weights import learned_from, load_weights
from demur.classifier import BoundClassifier
from demur.containment import contained, contained_tensors
from demur.errors import AddressError, DemurError, ModelError, unknown
from demur.foreign import reason
from demur.registry import Address


def load_own(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at a `module:` address."""
    options = Options.read(address, classes, input_shape)
    module = build_own(address.location, options.input_shape[0], len(options.classes))
    said = () if address.weights is None else load_weights(module, address.weights)
    ran = f"the Python code of {address.location} was run in this process"
    return options.wrap(module, learned_from(address.weights), (ran, *said))


def build_own(location: str, channels: int, classes: int) -> nn.Module:
    """What FACTORY returns, or FACTORY itself where it is a module already.

    A factory with parameters called `channels` or `classes` is told the numbers of the data.
    """
    name, colon, attribute = location.partition(":")
    if not colon or not name or not attribute:
        raise AddressError(
            f"module:{location} must name a Python module and what builds the network in it. "
            "Write module:PKG.MOD:FACTORY, such as module:mynets.resnet:resnet20."
        )
    reach_here()
    with contained():
        made = getattr(_imported(name), attribute, None)
        if made is None:
            raise AddressError(f"module:{location}: {unknown('factory', attribute, _public(name))}")
        if not isinstance(made, nn.Module):
            made = _called(made, location, {"channels": channels, "classes": classes})
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"module:{location} must give a torch.nn.Module; it gave a {type(made).__name__}. "
            "Name a class of modules or a function that returns one."
        )
    return made


def reach_here() -> None:
    """Make Python modules in the current directory importable."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _imported(name: str) -> object:
    try:
        with contained_tensors():
            return importlib.import_module(name)
    except (DemurError, KeyboardInterrupt):
        raise
    except ImportError as error:
        raise AddressError(
            f"cannot import {name!r} ({reason(error)}). A module: address names a Python module that is installed or "
            "lies in the current directory."
        ) from error
    except BaseException as error:  # importing runs foreign code, which may even ask for the end of the process
        raise ModelError(
            f"the Python module {name!r} cannot be imported: {reason(error)}. Correct it; python -c 'import {name}' "
            "shows where it fails."
        ) from error


def _called(factory: object, location: str, known: Mapping[str, int]) -> object:
    if not callable(factory):
        return factory
    told = {name: value for name, value in known.items() if name in _parameters(factory)}
    try:
        return factory(**told)
    except (DemurError, KeyboardInterrupt):
        raise
    except BaseException as error:  # foreign code may raise anything
        how = f"with {' and '.join(f'{name}={value}' for name, value in told.items())}" if told else "without arguments"
        raise ModelError(
            f"module:{location} is called {how}, which failed: {reason(error)}. Write a function without parameters "
            "other than `channels` and `classes` that builds the network, and name it."
        ) from error


def _parameters(factory: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except ValueError:  # some built-in callables have none to show
        return {}


def _public(name: str) -> list[str]:
    return [attribute for attribute in vars(sys.modules[name]) if not attribute.startswith("_")]
