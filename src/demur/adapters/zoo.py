"""`zoo:NAME@FILE.safetensors[?mean=…&std=…]`: an architecture of demur's zoo with weights from a file."""

from collections.abc import Sequence

from torch import nn

from demur.adapters.manifest import learned_from
from demur.adapters.options import Options
from demur.adapters.weights import load_weights
from demur.classifier import Classifier
from demur.errors import AddressError
from demur.registry import Address, resolve


def load(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> Classifier:
    """The classifier at a `zoo:` address."""
    options = Options.read(address, classes, input_shape)
    module = build(address.location, options.input_shape[0], len(options.classes))
    if address.weights is None:
        raise AddressError(
            f"zoo:{address.location} is an untrained architecture, and only a trained model can be measured. "
            f"Name its weights: zoo:{address.location}@FILE.safetensors."
        )
    load_weights(module, address.weights)
    return options.wrap(module, learned_from(address.weights))


def build(location: str, channels: int, classes: int) -> nn.Module:
    """An architecture of the zoo, untrained."""
    module: nn.Module = resolve("zoo", location)(channels=channels, classes=classes)
    return module
