"""Architectures of demur's zoo, weights from a file (`zoo:NAME@FILE[?…]`) or as shipped (`fashion`)."""

from collections.abc import Sequence
from importlib.resources import as_file, files

from torch import nn

from demur.adapters.address_options import Options
from demur.adapters.weights import learned_from, load_weights, read_metadata
from demur.classifier import BoundClassifier
from demur.errors import AddressError, ModelError
from demur.registry import Address, resolve
from demur.zoo.compact_resnet import CompactResNet


def load_from_zoo(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at a `zoo:` address."""
    options = Options.read(address, classes, input_shape)
    module = build_from_zoo(address.location, options.input_shape[0], len(options.classes))
    if address.weights is None:
        raise AddressError(
            f"zoo:{address.location} is an untrained architecture, and only a trained model can be measured. "
            f"Name its weights: zoo:{address.location}@FILE.safetensors."
        )
    load_weights(module, address.weights)
    return options.wrap(module, learned_from(address.weights))


def build_from_zoo(location: str, channels: int, classes: int) -> nn.Module:
    """An architecture of the zoo, untrained."""
    module: nn.Module = resolve("architecture", location)(channels=channels, classes=classes)
    return module


_INPUT_SHAPE = (1, 28, 28)


def load_shipped(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The shipped classifier of Fashion-MNIST; it takes no options and fits no other images."""
    address.only(())
    with as_file(files("demur.zoo") / "weights" / f"{address.scheme}.safetensors") as path:
        named = tuple(read_metadata(str(path))["classes"].split(","))
        if input_shape != _INPUT_SHAPE or len(classes) != len(named):
            raise ModelError(
                f"the shipped model 'fashion' reads images of shape {_INPUT_SHAPE} in {len(named)} classes; the data "
                f"has shape {input_shape} and {len(classes)} classes. Name your own model: zoo:NAME@FILE or "
                "module:PKG.MOD:FACTORY@FILE."
            )
        module = CompactResNet(channels=_INPUT_SHAPE[0], classes=len(named))
        load_weights(module, str(path))
    return Options.read(address, named, _INPUT_SHAPE).wrap(module)
