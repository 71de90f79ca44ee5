"""Architectures to be trained or loaded: of the zoo, shipped, of the user; weights to start from or not."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from inspect import signature
from typing import Protocol, cast

from torch import Tensor, nn

from demur.adapters.address_options import Options
from demur.adapters.own_module import build_own
from demur.adapters.packaged_weights import PACKAGES, packaged_weights
from demur.adapters.starting_weights import Start, copy_backbone, copy_beneath_head
from demur.adapters.weights import copy_weights, learned_from, load_weights, named_as_in, read_metadata, read_weights
from demur.class_names.imagenet import imagenet_names
from demur.classifier import BoundClassifier
from demur.errors import AddressError, ModelError, brief, unknown
from demur.registry import Address, kind_of, names, parse, resolve
from demur.zoo import CompactResNet, VerifiableCNN


def load_from_zoo(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at a `zoo:` address."""
    if address.weights is None and address.location in PACKAGES:
        return _load_packaged(address, input_shape)
    options = Options.read(address, classes, input_shape)
    module = build_from_zoo(address.location, options.input_shape[0], len(options.classes))
    if address.weights is None:
        raise AddressError(
            f"zoo:{address.location} is an untrained architecture, and only a trained model can be measured. "
            f"Name its weights: zoo:{address.location}@FILE.safetensors."
        )
    said = load_weights(module, address.weights)
    return options.wrap(module, learned_from(address.weights), said)


def _load_packaged(address: Address, input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier of ImageNet whose weights come in a package; what the address says itself wins."""
    package = PACKAGES[address.location]
    options = Options.read(address, imagenet_names(), input_shape)
    module = build_from_zoo(address.location, options.input_shape[0], len(options.classes))
    copy_weights(module, packaged_weights(address.location), package.install)
    return replace(options, mean=options.mean or package.mean, std=options.std or package.std).wrap(module)


def build_from_zoo(location: str, channels: int, classes: int) -> nn.Module:
    """An architecture of the zoo, untrained; `compact_resnet(width=48)` sets what else its factory takes.

    Raises:
        AddressError: it takes no such field, or no such value.
    """
    call = parse(location)
    factory = resolve("architecture", call.name)
    usual = {name: field.default for name, field in signature(factory).parameters.items() if name not in _OF_THE_DATA}
    for name, value in call.fields.items():
        if name not in usual:
            raise AddressError(f"zoo:{brief(location)}: {unknown('field', name, usual)}")
        if type(value) is not type(usual[name]) or (isinstance(value, int) and not 0 < value <= _WIDEST):
            raise AddressError(
                f"zoo:{brief(location)}: `{name}` must be like its default, {usual[name]!r}, and a number between 1 "
                f"and {_WIDEST:,}; got {value!r}."
            )
    try:
        module: nn.Module = factory(channels=channels, classes=classes, **call.fields)
    except ValueError as error:
        raise AddressError(f"zoo:{brief(location)} cannot be built: {error}. Choose another value.") from None
    return module


_OF_THE_DATA = ("channels", "classes")
_WIDEST = 4_096


_INPUT_SHAPE = (1, 28, 28)
_SHIPPED = {"fashion": CompactResNet, "fashion_ibp": VerifiableCNN}


def load_shipped(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """A shipped classifier of Fashion-MNIST; it takes no options and fits no other images."""
    address.only(())
    with as_file(files("demur.zoo") / "weights" / f"{address.scheme}.safetensors") as path:
        named = tuple(read_metadata(str(path))["classes"].split(","))
        if input_shape != _INPUT_SHAPE or len(classes) != len(named):
            raise ModelError(
                f"the shipped model {address.scheme!r} reads images of shape {_INPUT_SHAPE} in {len(named)} classes; "
                f"the data has shape {input_shape} and {len(classes)} classes. Name your own model: zoo:NAME@FILE or "
                "module:PKG.MOD:FACTORY@FILE."
            )
        module = _SHIPPED[address.scheme](channels=_INPUT_SHAPE[0], classes=len(named))
        load_weights(module, str(path))
    return Options.read(address, named, _INPUT_SHAPE).wrap(module)


_OPTIONS = ("mean", "std", "features", "name")
"""What may be said of a network to be trained: shape and classes are those of the data, and it puts out logits."""

_BUILDERS = {"module": build_own, "zoo": build_from_zoo}

_BACKBONES = {"hybrid": "efficientnet_lite0"}
"""Architectures on top of another whose weights come in a package."""


LIBRARIES = {"timm": "demur.adapters.timm_models", "torchvision": "demur.adapters.torchvision_models"}
"""By scheme the module that makes networks of a library, and knows their weights and how they want their images."""


class Library(Protocol):
    """What such a module has."""

    OPTIONS: tuple[str, ...]

    def normalising(self, address: Address, options: Options) -> Options:
        """The options, with the normalisation that belongs to the weights."""

    def published_tensors(self, address: Address) -> Mapping[str, Tensor]:
        """The weights that a name was published with."""

    def untrained(self, address: Address, tensors: Mapping[str, Tensor], channels: int, classes: int) -> nn.Module:
        """The network for other classes; what else it must be told, its weights say."""


def _library(address: Address) -> Library | None:
    place = LIBRARIES.get(address.scheme)
    return None if place is None else cast(Library, importlib.import_module(place))


@dataclass(frozen=True)
class Architecture:
    """A network to be made for some data.

    Attributes:
        address: what was asked for; `weights` in it are those to start from.
        options: what it is made for.
    """

    address: Address
    options: Options

    @classmethod
    def read(cls, text: str, *, classes: Sequence[str], input_shape: tuple[int, int, int]) -> "Architecture":
        """The architecture at an address; a bare name is one of the zoo's.

        Raises:
            AddressError: the address leads nowhere, or to a classifier that is not built from an architecture.
        """
        known = ":" in text and kind_of(text.partition(":")[0], "model") is not None
        address = Address.parse(text if known else f"zoo:{text}", "model")
        if address.scheme not in {*_BUILDERS, *LIBRARIES}:
            raise AddressError(
                f"{text!r} is a finished classifier. Name an architecture to train: one of "
                f"{', '.join(names('architecture'))}, module:PKG.MOD:FACTORY, or a network of "
                f"{' or '.join(f'{name}:' for name in LIBRARIES)}."
            )
        library = _library(address)
        others = () if library is None else library.OPTIONS
        address.only((*_OPTIONS, *others))
        options = Options.read(address, classes, input_shape, others)
        return cls(address, options if library is None else library.normalising(address, options))

    @property
    def name(self) -> str:
        """Scheme, place and weights to start from."""
        start = f"@{self.address.weights}" if self.address.weights else ""
        return f"{self.address.scheme}:{self.address.location}{start}{self._query}"

    @property
    def _query(self) -> str:
        query = "&".join(f"{key}={value}" for key, value in self.address.options.items())
        return f"?{query}" if query else ""

    def begin(self) -> Start:
        """A network to be trained; what no weights are named for is drawn from torch's global stream."""
        address, channels, classes = self.address, self.options.input_shape[0], len(self.options.classes)
        library = _library(address)
        if library is not None:
            return _of_library(library, address, channels, classes)
        made = _BUILDERS[address.scheme](address.location, channels, classes)
        if address.weights is not None:
            tensors, unpacked = named_as_in(made, address.weights)
            start = copy_beneath_head(made, tensors, address.weights, classes)
            return replace(start, words=(*unpacked, *start.words))
        if address.scheme == "zoo":
            return _from_package(made, parse(address.location).name)
        return Start(made, pretrained=True)  # one's own function may have given it weights, which cannot be told

    def trained(self, weights: str) -> str:
        """The address of the classifier with weights of this architecture."""
        return f"{self.address.scheme}:{self.address.location}@{weights}{self._query}"


def _of_library(library: Library, address: Address, channels: int, classes: int) -> Start:
    """A network of a library on weights of one's own, or on those it was published with."""
    own = address.weights
    tensors = library.published_tensors(address) if own is None else read_weights(own)
    made = library.untrained(address, tensors, channels, classes)
    named, unpacked = (tensors, ()) if own is None else named_as_in(made, own)
    start = copy_beneath_head(made, named, own or f"the weights of {address.text}", classes)
    return replace(start, words=(*unpacked, *start.words))


def _from_package(network: nn.Module, name: str) -> Start:
    """The network on top of a backbone whose weights come in a package; others start from chance."""
    if name not in _BACKBONES:
        return Start(network)
    package = PACKAGES[_BACKBONES[name]]
    whose = f"the package {package.install} ({package.words})"
    return copy_backbone(network, packaged_weights(_BACKBONES[name]), "backbone", whose)
