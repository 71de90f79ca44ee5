"""`torchvision:NAME[@FILE.safetensors]`: a model of torchvision, with one's own weights or published ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from demur.adapters.address_options import Options
from demur.adapters.declarations import Declaration
from demur.adapters.library_words import listed, numbered, unavailable
from demur.adapters.weights import bare_weights, learned_from, load_weights
from demur.classifier import BoundClassifier
from demur.errors import AddressError, brief, missing_extra, unknown
from demur.pictures.decode_rules import Rules
from demur.registry import Address

_OPTIONS = ("weights", "transform_input")
_TRANSFORMING = frozenset({"googlenet", "inception_v3"})
"""Models that undo torchvision's normalisation themselves where they were made with published weights."""


def load_torchvision(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at a `torchvision:` address.

    Raises:
        MissingExtraError: torchvision is not installed.
        AddressError: torchvision has no such model or weights.
        ModelError: its weights cannot be had, or are another architecture's.
    """
    options = Options.read(address, classes, input_shape, _OPTIONS)
    entry = _entry(address)
    said: tuple[str, ...] = ()
    if address.weights is None:
        module = _published(address, entry)
    else:
        module = _fitted(address)
        said = load_weights(module, address.weights)
    transforms = entry.transforms()
    normalised = options.normalising(transforms.mean, transforms.std, str(entry))
    return normalised.wrap(module, learned_from(address.weights), said)


def declare_torchvision(address: Address) -> Declaration:
    """What `weights.transforms()` and `weights.meta` say; with a file, how many classes its tensors have."""
    entry = _entry(address)
    transforms, categories = entry.transforms(), tuple(entry.meta["categories"])
    outputs = len(categories) if address.weights is None else _outputs(_fitted(address))
    size, first = transforms.crop_size[0], transforms.resize_size[0]
    interpolation = str(transforms.interpolation.value)
    said = f"resize {first} px, {interpolation}, crop {size} px"
    normalisation = f"mean {listed(transforms.mean)}, std {listed(transforms.std)}"
    return Declaration(
        rules=Rules(size=(size, size), resize=first, crop=True, interpolation=interpolation, channels=3),
        classes=numbered(categories) if outputs == len(categories) else None,
        outputs=outputs,
        input_shape=(3, size, size),
        words=(f"torchvision transforms of {entry}: {said}, {normalisation}",),
        transform=transforms,
    )


def _models() -> Any:
    try:
        from torchvision import models
    except ModuleNotFoundError as error:
        raise missing_extra("a torchvision: model", "torchvision") from error
    return models


def _entry(address: Address) -> Any:
    """The published weights that are meant, whose preprocessing and classes hold for a file too."""
    models, name = _models(), address.location
    names = models.list_models(module=models)
    if name not in names:
        raise AddressError(f"torchvision: {unknown('image classifier', name, names)}")
    weights = models.get_model_weights(name)
    wanted = address.options.get("weights", "DEFAULT")
    if wanted not in weights.__members__:
        raise AddressError(f"torchvision:{name}: {unknown('weights', wanted, list(weights.__members__))}")
    return weights[wanted]


def _published(address: Address, entry: Any) -> nn.Module:
    try:
        module: nn.Module = _models().get_model(address.location, weights=entry, progress=False)
    except Exception as error:  # the network or the cache may raise anything
        raise unavailable(f"the weights {entry}", error, f"torchvision:{address.location}") from error
    return module


def _fitted(address: Address) -> nn.Module:
    """The untrained model that the tensors of a file belong to: one head is of another length at most."""
    tensors, name = bare_weights(str(address.weights)), address.location
    own = _own_parts(address, tensors)
    module: nn.Module = _models().get_model(name, weights=None, **own)
    lengths = {
        tensors[key].shape[0]
        for key, tensor in module.state_dict().items()
        if key in tensors and tensor.shape != tensors[key].shape and tensor.shape[1:] == tensors[key].shape[1:]
    }
    if len(lengths) == 1:
        module = _models().get_model(name, weights=None, num_classes=lengths.pop(), **own)
    return module


def _own_parts(address: Address, tensors: Mapping[str, Any]) -> dict[str, bool]:
    """What two models must be told besides, which no tensor says."""
    if address.location not in _TRANSFORMING:
        return {}
    text = address.options.get("transform_input")
    if text not in {"yes", "no"}:
        raise AddressError(
            f"torchvision:{address.location} may change its input itself, and a file of weights does not say whether "
            f"it does; got transform_input={brief(str(text))!r}. Write ?transform_input=yes where training began with "
            "torchvision's own weights, else ?transform_input=no."
        )
    auxiliary = any(name.lower().startswith("aux") for name in tensors)
    return {"transform_input": text == "yes", "aux_logits": auxiliary, "init_weights": False}


def _outputs(module: nn.Module) -> int | None:
    """How many rows the last linear layer has, or the last convolution of a net that ends in one."""
    sizes = [layer.weight.shape[0] for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return sizes[-1] if sizes else None
