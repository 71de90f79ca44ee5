"""Outside models become classifiers; one file per outside world.

An address is `scheme:LOCATION[@WEIGHTS][?key=value&…]`:

- `fashion`: the classifier that comes with demur.
- `export:FILE`, `onnx:FILE`, `torchscript:FILE`: a model that lies whole in a file.
- `hf:OWNER/NAME` or `hf:./FOLDER`: an image classifier of transformers.
- `timm:NAME[@FILE]` and `torchvision:NAME[@FILE]`: a model of these libraries.
- `zoo:NAME@FILE`: an architecture of demur's zoo with your weights.
- `ensemble:ADDRESS,ADDRESS,…`: several of these as one, by their mean probability.
- `module:PKG.MOD:FACTORY[@FILE]`: your own architecture, importable or in the current directory.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from demur.registry import Address, resolve

if TYPE_CHECKING:
    from demur.classifier import BoundClassifier

__all__ = ["load_model"]


def load_model(text: str, *, classes: Sequence[str], input_shape: tuple[int, int, int]) -> "BoundClassifier":
    """The classifier at an address, for data of these classes and this (channels, height, width).

    Options of the address win over `classes` and `input_shape`: they say what the model itself was made for.

    Raises:
        AddressError: the address leads nowhere.
        ModelError: what is there cannot be used, or breaks the contract of a classifier.
    """
    from demur.classifier import Classifier

    address = Address.parse(text, "model")
    found = resolve("model", address.scheme)(address, classes, input_shape)
    return found.bind(classes=classes, input_shape=input_shape) if isinstance(found, Classifier) else found
