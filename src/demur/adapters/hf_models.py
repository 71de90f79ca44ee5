"""`hf:OWNER/NAME` or `hf:./folder`: an image classifier of transformers, of the hub, its cache or a local folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from demur.adapters.address_options import Options
from demur.adapters.declarations import Declaration
from demur.adapters.library_words import listed, numbered
from demur.classifier import BoundClassifier
from demur.errors import AddressError, ModelError, missing_extra
from demur.foreign import reason
from demur.pictures.decode_rules import Rules
from demur.registry import Address

_OPTIONS = ("processor", "revision")
_LOCAL = (".", "/", "~")
_METHODS = {method.value: method.name.lower() for method in Image.Resampling}
_LEVIT = 256 / 224
_STRETCHED = 384
"""The side from which ConvNeXt's processor stretches pictures instead of cutting them."""
_CLOSE = 1e-5
_PROBE = 512


@dataclass(frozen=True)
class _Normalisation:
    """What a processor does to numbers: (x − mean) / std of x in [0, 1], and whether red and blue change places."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flipped: bool


class Flipped(nn.Module):
    """A network that reads blue, green, red behind one that is given red, green, blue."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        """What the network answers."""
        return self.network(images.flip(1))


def load_hf(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at an `hf:` address.

    Raises:
        MissingExtraError: transformers is not installed.
        AddressError: there is no such folder, or no image classifier in it.
        ModelError: it can neither be found nor fetched, or keeps its weights in a pickle.
    """
    options = Options.read(address, classes, input_shape, _OPTIONS)
    from_pretrained = _auto("AutoModelForImageClassification")
    model = _read(address, from_pretrained, use_safetensors=True)
    processor = _processor(address)
    numbers = _normalisation(processor, 3)
    module: nn.Module = Flipped(model) if numbers.flipped else model
    return options.normalising(numbers.mean, numbers.std, address.location).wrap(module)


def declare_hf(address: Address) -> Declaration:
    """What the config and the image processor say; no weights are read."""
    config, processor = _read(address, _auto("AutoConfig")), _processor(address)
    rules, numbers = _rules(processor), _normalisation(processor, 3)
    named = [str(config.id2label[number]) for number in range(config.num_labels)]
    generic = all(name == f"LABEL_{number}" for number, name in enumerate(named))
    size = None if rules is None else rules.size
    said = "" if rules else "; demur has no rule for what it does to sizes, so say so by size, crop and interpolation"
    words = (
        f"{type(processor).__name__} of {address.location} (backend {processor.backend}): mean {listed(numbers.mean)}, "
        f"std {listed(numbers.std)}{', BGR' if numbers.flipped else ''}{said}"
    )
    return Declaration(
        rules=rules,
        classes=None if generic else numbered(named),
        outputs=config.num_labels,
        input_shape=None if size is None else (3, *size),
        words=(words,),
        transform=partial(_module_input, processor, flipped=numbers.flipped),
    )


def _auto(name: str) -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise missing_extra("an hf: model", "hf") from error
    transformers.utils.logging.disable_progress_bar()
    return getattr(transformers, name).from_pretrained


def _read(address: Address, from_pretrained: Any, **others: Any) -> Any:
    """What transformers makes of a folder, without any network, or of a name on the hub."""
    if address.weights is not None or not address.location:
        raise AddressError(f"an hf: address is hf:OWNER/NAME or hf:./FOLDER, without @; got {address.text!r}.")
    place = Path(address.location).expanduser()
    local = address.location.startswith(_LOCAL) or place.is_dir()
    if local and not place.is_dir():
        raise AddressError(f"there is no folder {place}; save_pretrained of transformers makes one. Check the path.")
    options = {} if "revision" not in address.options else {"revision": address.options["revision"]}
    try:
        return from_pretrained(str(place) if local else address.location, local_files_only=local, **options, **others)
    except Exception as error:  # the hub, a cache or somebody's file may raise anything
        way_out = (
            "It needs config.json, preprocessor_config.json and model.safetensors; save_pretrained("
            "safe_serialization=True) writes them."
            if local
            else "It is read from the cache of transformers or fetched over the network; hf:./FOLDER is read here."
        )
        raise ModelError(f"hf:{address.location} cannot be opened: {reason(error)}. {way_out}") from error


def _processor(address: Address) -> Any:
    """The image processor, of the backend that the address names or that transformers chooses here."""
    backend = address.options.get("processor")
    if backend not in {None, "pil", "torchvision"}:
        raise AddressError(f"`processor` must be pil or torchvision; got {backend!r}. Leave it out for the usual one.")
    named = {} if backend is None else {"backend": backend}
    found = _read(address, _auto("AutoImageProcessor"), **named)
    if backend is not None and found.backend != backend:
        raise ModelError(
            f"hf:{address.location} has no image processor with the backend {backend} here, and others give other "
            f"pixels; transformers fell back to {found.backend}. Install torchvision, or leave processor out."
        )
    return found


def _rules(processor: Any) -> Rules | None:
    """What a processor does to sizes; None where demur has no rule for it."""
    window = _window(type(processor).__name__, processor)
    interpolation = _METHODS.get(int(getattr(processor, "resample", None) or 2), "")
    by_torch = processor.backend == "torchvision"
    if window is None or (by_torch and interpolation not in {"nearest", "bilinear", "bicubic"}):
        return None
    size, resize = window
    return Rules(
        size=size,
        resize=resize,
        crop=resize is not None,
        floor=resize is not None,
        interpolation=interpolation,
        resizer="torch" if by_torch else "pillow",
        channels=3,
        alpha="white" if getattr(processor, "do_convert_rgb", None) else "black",
    )


Window = tuple[tuple[int, int], int | tuple[int, int] | None]
"""The size of an image, and what a picture is scaled to before it is cut out."""


def _window(kind: str, processor: Any) -> Window | None:
    """`size` and `resize` of the rules."""
    if not processor.do_resize or getattr(processor, "do_pad", None):
        return None
    sides = dict(processor.size)
    short = sides.get("shortest_edge")
    if kind.startswith("ConvNext") and short:
        return ((short, short), int(short / processor.crop_pct) if short < _STRETCHED else None)
    if kind.startswith(("PoolFormer", "Perceiver")) or sides.get("longest_edge"):
        return None
    first = int(_LEVIT * short) if kind.startswith("Levit") and short else short
    whole = (sides["height"], sides["width"]) if sides.get("height") and sides.get("width") else None
    if not processor.do_center_crop:
        return None if whole is None else (whole, None)
    cut = dict(processor.crop_size)
    found = (cut["height"], cut["width"])
    resize = first or whole
    return None if resize is None else (found, None if resize == found else resize)


def _normalisation(processor: Any, channels: int) -> _Normalisation:
    """Found by asking: black, white and red pictures show everything that is done to numbers channel by channel."""
    black, white, red = (
        _pixels(processor, Image.new("RGB", (_PROBE, _PROBE), colour)).mean(dim=(1, 2))
        for colour in ((0, 0, 0), (255, 255, 255), (255, 0, 0))
    )
    std = 1 / (white - black).double()
    mean = -black.double() * std
    lit = int((red - black).abs().argmax())
    if len(std) != channels or lit not in {0, 2} or not bool(std.isfinite().all()):
        raise ModelError(f"the processor {type(processor).__name__} does more to colours than to scale and shift them.")
    order = [2, 1, 0] if lit == 2 else [0, 1, 2]
    stated = (getattr(processor, "image_mean", None), getattr(processor, "image_std", None))
    middle, spread = (_nearest(own[order].tolist(), named) for own, named in zip((mean, std), stated, strict=True))
    return _Normalisation(mean=middle, std=spread, flipped=lit == 2)


def _module_input(processor: Any, picture: Image.Image, *, flipped: bool) -> Tensor:
    """What the module is given, which turns the colours round itself."""
    pixels = _pixels(processor, picture)
    return pixels.flip(0) if flipped else pixels


def _pixels(processor: Any, picture: Image.Image) -> Tensor:
    """What a processor makes of a picture, (channels, height, width)."""
    return torch.as_tensor(np.array(processor(picture, return_tensors="pt")["pixel_values"]))[0]


def _nearest(values: Sequence[float], stated: Sequence[float] | None) -> tuple[float, ...]:
    """The numbers that a config states where these are what was found."""
    named = tuple(stated or ())
    close = len(named) == len(values) and all(abs(a - b) < _CLOSE for a, b in zip(named, values, strict=True))
    return named if close else tuple(values)
