"""`timm:NAME[@FILE.safetensors][?…]`: a model of timm, with weights of one's own or the ones it was published with."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from demur.adapters.address_options import Options
from demur.adapters.declarations import Declaration
from demur.adapters.library_words import listed, numbered, unavailable
from demur.adapters.weights import bare_weights, learned_from, load_weights
from demur.classifier import BoundClassifier
from demur.errors import AddressError, missing_extra
from demur.foreign import reason
from demur.pictures.decode_rules import INTERPOLATIONS, Rules
from demur.registry import Address

_PLACES = ("hf-hub:", "local-dir:")
"""What stands before the place of a model that is none of timm's own names."""


def load_timm(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at a `timm:` address.

    Raises:
        MissingExtraError: timm is not installed.
        AddressError: timm has no such model.
        ModelError: its weights cannot be had, or are another architecture's.
    """
    options = Options.read(address, classes, input_shape)
    config = _data_config(address, _published(address), options.input_shape[0])
    said: tuple[str, ...] = ()
    if address.weights is None:
        module = _with_its_weights(address)
    else:
        module = _fitted(address)
        said = load_weights(module, address.weights)
    normalised = options.normalising(config["mean"], config["std"], config["name"])
    return normalised.wrap(module, learned_from(address.weights), said)


def declare_timm(address: Address) -> Declaration:
    """What timm's data config and class list say; with a file, how many classes and channels its tensors have."""
    published = _published(address)
    outputs, channels = published.get("num_classes"), 3
    if address.weights is not None:
        found = _counts(published, bare_weights(address.weights))
        outputs, channels = found[0] or outputs, found[1] or channels
    config = _data_config(address, published, channels)
    _, height, width = config["input_size"]
    rules = _rules(config)
    said = "" if rules else "; demur has no rule for that crop_mode, so say by size, crop and interpolation how to cut"
    words = (
        f"timm data config of {config['name']}: {height} × {width} px, crop_pct {config['crop_pct']:g}, crop_mode "
        f"{config['crop_mode']}, {config['interpolation']}, mean {listed(config['mean'])}, std "
        f"{listed(config['std'])}{said}"
    )
    return Declaration(
        rules=rules,
        classes=_classes(published) if outputs == published.get("num_classes") else None,
        outputs=outputs,
        input_shape=(channels, height, width),
        words=(words,),
        transform=_transform(config),
    )


def _published(address: Address) -> Mapping[str, Any]:
    """What timm says of a name: sizes, normalisation, classes."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise missing_extra(f"timm:{address.location}", "timm") from error
    name = address.location
    if name.startswith(_PLACES):
        return dict(vars(_made(name))["pretrained_cfg"])
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.partition('.')[0]}*")[:5] or timm.list_models("resnet*")[:5]
        raise AddressError(f"timm has no model {name!r}. Some that it has: {', '.join(near)}.")
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = ", ".join(timm.list_pretrained(f"{name.partition('.')[0]}.*")[:8])
        raise AddressError(f"timm has no weights {name!r}: {reason(error)}. It has {tags}.") from None
    return {} if found is None else found.to_dict()


def _made(name: str, **others: Any) -> nn.Module:
    """An untrained model of timm, or one with the weights it was published with."""
    import timm

    try:
        module: nn.Module = timm.create_model(name, pretrained=others.pop("pretrained", False), **others)
    except (RuntimeError, TypeError, ValueError, OSError) as error:
        raise AddressError(f"timm cannot build {name!r}: {reason(error)}. Correct the name or the options.") from error
    return module


def _sizes(address: Address, published: Mapping[str, Any]) -> dict[str, Any]:
    """What a model that reads one size alone must be told of another."""
    if "size" not in address.options or not published.get("fixed_input_size"):
        return {}
    return {"img_size": Options.read(address, ("0", "1"), (3, 0, 0)).input_shape[1:]}


def _fitted(address: Address) -> nn.Module:
    """The untrained model that the tensors of a file belong to: they say how many classes and channels it has."""
    published = _published(address)
    outputs, channels = _counts(published, bare_weights(str(address.weights)))
    heads = {} if outputs is None else {"num_classes": outputs}
    stems = {} if channels is None else {"in_chans": channels}
    return _made(address.location, **_sizes(address, published), **heads, **stems)


def _counts(published: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[int | None, int | None]:
    """How many rows the head has, and how many channels the first layer; None where timm does not say which it is."""
    head, first = (_first_of(published.get(part), tensors) for part in ("classifier", "first_conv"))
    channels = None if first is None or first.ndim != 4 else int(first.shape[1])
    return None if head is None else int(head.shape[0]), channels


def _first_of(names: Any, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The weights of the first of some layers that is there."""
    layers = names if isinstance(names, list | tuple) else [names]
    return next((tensors[f"{name}.weight"] for name in layers if f"{name}.weight" in tensors), None)


def _with_its_weights(address: Address) -> nn.Module:
    try:
        return _made(address.location, pretrained=True, **_sizes(address, _published(address)))
    except Exception as error:  # the network, a cache or somebody's file may raise anything
        raise unavailable(
            f"the weights that timm has of {address.location!r}", error, f"timm:{address.location}"
        ) from error


def _data_config(address: Address, published: Mapping[str, Any], channels: int) -> dict[str, Any]:
    from timm.data import resolve_data_config

    config = resolve_data_config({}, pretrained_cfg=dict(published))
    if "size" in address.options:
        config["input_size"] = (3, *Options.read(address, ("0", "1"), (3, 0, 0)).input_shape[1:])
    for part in ("mean", "std"):
        config[part] = tuple(config[part]) if len(config[part]) == channels else None
    parts = (published.get("architecture"), published.get("tag"))
    return {**config, "name": ".".join(part for part in parts if part) or address.location}


def _rules(config: Mapping[str, Any]) -> Rules | None:
    """What `timm.data.create_transform` does to a picture; None where it adds borders."""
    size = tuple(config["input_size"][1:])
    first = tuple(math.floor(side / config["crop_pct"]) for side in size)
    squash = config["crop_mode"] == "squash"
    if config["crop_mode"] not in {"squash", "center"} or config["interpolation"] not in INTERPOLATIONS:
        return None
    if not squash and size[0] != size[1]:
        return None
    return Rules(
        size=(size[0], size[1]),
        resize=(first[0], first[1]) if squash else first[0],
        crop=True,
        interpolation=config["interpolation"],
        channels=3 if config["mean"] is not None and len(config["mean"]) == 3 else None,
    )


def _transform(config: Mapping[str, Any]) -> Any:
    """How timm itself makes a tensor of a picture; None where it says of no such channels how."""
    from timm.data import create_transform

    parts = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
    if config["mean"] is None:
        return None
    return create_transform(**{part: config[part] for part in parts}, is_training=False)


def _classes(published: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The model's own names, else those of the ImageNet list with so many classes."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    names = published.get("label_names")
    if names:
        words = published.get("label_descriptions") or {}
        return numbered([str(words.get(name, name)) for name in names])
    subset = infer_imagenet_subset(dict(published))
    if subset is None:
        return None
    return numbered([words.partition(",")[0] for words in ImageNetInfo(subset).label_descriptions()])
