"""Outside models become classifiers; one file per outside world.

An address is `scheme:LOCATION[@WEIGHTS][?key=value&…]`:

- `fashion`, `fashion_ibp`: the classifiers that come with demur.
- `export:FILE`, `onnx:FILE`, `torchscript:FILE`: a model that lies whole in a file.
- `hf:OWNER/NAME` or `hf:./FOLDER`: an image classifier of transformers.
- `keras:FILE.keras` or `keras:FILE.h5`: a model of Keras.
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

_IMAGENET = 1_000
"""Outputs of a model of ImageNet."""


def load_model(text: str, *, classes: Sequence[str], input_shape: tuple[int, int, int]) -> "BoundClassifier":
    """The classifier at an address, for data of these classes and this (channels, height, width).

    Options of the address win over `classes` and `input_shape`: they say what the model itself was made for. With
    `?classes=data`, `?classes=@map.csv` or `?finding=NAME` it is asked about other classes than its outputs.

    Raises:
        AddressError: the address leads nowhere.
        ModelError: what is there cannot be used, or breaks the contract of a classifier.
    """
    from demur.adapters.class_choice import chooses, chosen

    address = Address.parse(text, "model")
    if chooses(address):
        return chosen(address, classes, input_shape, _loaded)
    return _loaded(address, classes, input_shape)


def _loaded(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> "BoundClassifier":
    """The model itself, with the names that its address or its source gives.

    One of 1,000 outputs without names has those of ImageNet where the data are of its classes.
    """
    from demur.adapters.declarations import declared
    from demur.class_names.imagenet import imagenet_names
    from demur.classifier.validation import OutputCountError

    own = None if "classes" in address.options else declared(address.text).classes
    if own is not None:
        return _built(address, own, input_shape)
    names = imagenet_names() if len(classes) == _IMAGENET and _are_of_imagenet(classes) else classes
    try:
        return _built(address, names, input_shape)
    except OutputCountError as error:
        if error.outputs != _IMAGENET or "classes" in address.options or not _are_of_imagenet(classes):
            raise
    return _built(address, imagenet_names(), input_shape)


def _are_of_imagenet(classes: Sequence[str]) -> bool:
    from demur.class_names import meeting
    from demur.class_names.imagenet import imagenet_names

    found = meeting(classes, imagenet_names())
    return found.by in {"name", "synset"} and not found.missing


def _built(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> "BoundClassifier":
    from demur.classifier import Classifier

    found = resolve("model", address.scheme)(address, classes, input_shape)
    return found.bind(classes=classes, input_shape=input_shape) if isinstance(found, Classifier) else found
