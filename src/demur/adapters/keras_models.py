"""`keras:FILE.keras` or `.h5`, read by Keras 3 on PyTorch: `[?scale=255|1][&mean=…&std=…][&output=…]`."""

import hashlib
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from demur.adapters.address_options import Options
from demur.adapters.declarations import Declaration
from demur.adapters.keras_ends import KerasEnd, pixel_scale, without_last_activation
from demur.adapters.keras_files import KerasFile, unreadable
from demur.adapters.keras_module import KerasModule
from demur.adapters.program_files import file_of
from demur.classifier import BoundClassifier
from demur.classifier.contract import Output
from demur.classifier.first_answer import made_up_images
from demur.errors import AddressError, ModelError, brief, missing_extra
from demur.pictures.decode_rules import Rules
from demur.registry import Address

_SCALE = "scale"
_LARGEST = 65_535.0
_FEWEST_CHANNELS = 4


def load_keras(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at a `keras:` address.

    Raises:
        MissingExtraError: Keras is not installed.
        AddressError: there is no such file.
        ModelError: it cannot be read, runs code of its own, or nothing says the scale of its pixels.
    """
    options = Options.read(address, classes, input_shape, (_SCALE,))
    found = _Loaded.of(address)
    scale, said = _scale(address, found.model)
    end = _end(address, found.model)
    module = KerasModule(
        end.net, end.head, scale=scale, channels_last=found.channels_last, identity=_identity(found.file, scale)
    )
    output = address.options.get("output") or end.output or _as_answered(module, options.input_shape)
    name = address.options.get("name", found.file.path.name)
    return replace(options, output=output, name=name).wrap(module, notes=(f"Keras reads {said}; {end.sentence}",))


def declare_keras(address: Address) -> Declaration:
    """What the file says: size and channels, outputs, the scale of pixels; nothing of how pictures are made smaller."""
    found = _Loaded.of(address)
    shape, words = found.input_shape, [f"keras: {_scale(address, found.model)[1]}"]
    words.append(f"keras: {_end(address, found.model).sentence}")
    rules = None
    if shape is not None:
        rules = Rules(size=shape[1:], channels={1: 1, 3: 3}.get(shape[0]), resizer="torch", antialias=False)
        words.append(
            "keras: the file does not say how pictures were scaled; they are stretched as image_dataset_from_directory "
            "does it (bilinear, not antialiased) where the data say nothing else, such as ?interpolation=nearest for "
            "load_img"
        )
    return Declaration(rules=rules, outputs=int(found.model.output_shape[-1]), input_shape=shape, words=tuple(words))


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """A model of Keras with one input and one output, and its file."""

    model: Any
    file: KerasFile

    @classmethod
    def of(cls, address: Address) -> "_Loaded":
        file = KerasFile.read(file_of(address))
        keras = keras_on_torch()
        try:
            with keras.device("cpu"):
                model = keras.models.load_model(str(file.path), compile=False, safe_mode=True)
        except Exception as error:  # what a file can make Keras raise is without end
            raise unreadable(file, error) from error
        inputs, outputs = (len(getattr(model, end, None) or ()) for end in ("inputs", "outputs"))
        if (inputs, outputs) != (1, 1) or len(model.input_shape) != 4 or len(model.output_shape) < 2:
            raise ModelError(
                f"a classifier has one input of images and one output; {file.path} has {inputs} and {outputs}"
                f"{f' of shape {model.input_shape}' if inputs == 1 else ''}. Save a model of these alone: "
                "keras.Model(inputs, outputs).save('model.keras')."
            )
        return cls(model=model, file=file)

    @property
    def channels_last(self) -> bool:
        """Whether images are read with channels last; the last axis is that of channels where both could be."""
        _, first, _, last = self.model.input_shape
        return not (_few(first) and not _few(last))

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """(channels, height, width), None where the file leaves any open."""
        _, *sides = self.model.input_shape
        ordered = (sides[2], sides[0], sides[1]) if self.channels_last else tuple(sides)
        return None if None in ordered else (int(ordered[0]), int(ordered[1]), int(ordered[2]))


def _few(side: int | None) -> bool:
    return side is not None and side <= _FEWEST_CHANNELS


def keras_on_torch() -> Any:
    """Keras 3 on PyTorch, imported so; the environment is left as it was.

    Raises:
        MissingExtraError: it is not installed.
        ModelError: it is there in another version, or runs on something else already.
    """
    before = os.environ.get("KERAS_BACKEND")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        import keras
    except ModuleNotFoundError as error:
        raise missing_extra("a keras: address", "keras") from error
    finally:
        if before is None:
            os.environ.pop("KERAS_BACKEND", None)
        else:
            os.environ["KERAS_BACKEND"] = before
    if not keras.__version__.startswith("3.") or keras.backend.backend() != "torch":
        kind = f"Keras {keras.__version__} on {keras.backend.backend()}"
        raise ModelError(
            f"keras: addresses are read by Keras 3 on PyTorch, and this process has {kind} already. Set "
            "KERAS_BACKEND=torch before Keras is imported, and install keras>=3.5."
        )
    return keras


def _scale(address: Address, model: Any) -> tuple[float, str]:
    """What the pixels in [0, 1] are multiplied by, and who says so.

    Raises:
        AddressError: the option is no such number.
        ModelError: neither the address nor the file says it.
    """
    options = address.options
    if _SCALE in options:
        return _number(options[_SCALE]), f"pixels of 0–{_number(options[_SCALE]):g}, as the address says"
    if "mean" in options or "std" in options:
        return 1.0, "pixels normalised by mean and std as the address says"
    found = pixel_scale(model)
    if found is None:
        raise ModelError(
            f"nothing says what scale of pixels keras:{address.location} was trained on: it begins with no Rescaling "
            "or Normalization. Name it: ?scale=255 for pixels of 0–255, as load_img and image_dataset_from_directory "
            "give them; ?scale=1 where they were divided by 255; or ?mean=…&std=… in the range of 0–1."
        )
    return found[0], f"pixels of 0–{found[0]:g}, found {found[1]}"


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _LARGEST:
        raise AddressError(
            f"the option scale is what the largest pixel is to the model, such as 255 or 1; got {brief(text)!r}."
        )
    return value


def _identity(file: KerasFile, scale: float) -> bytes:
    """What tells two models of the same weights apart."""
    return hashlib.sha256(b"".join(part.encode() for part in (scale.hex(), file.config))).digest()


def _end(address: Address, model: Any) -> KerasEnd:
    """The model without its last activation, unless the address says what it puts out."""
    if "output" in address.options:
        return KerasEnd(net=model, head=None, output=None, sentence="its answers are what the address says")
    return without_last_activation(model)


def _as_answered(module: KerasModule, input_shape: tuple[int, int, int]) -> Output:
    """What its answers look like, where its last layer does not say: probabilities are logged."""
    with torch.no_grad():
        answer = module(made_up_images(input_shape, torch.device("cpu"), torch.float32)).flatten(1)
    shares, columns = bool(((answer >= 0) & (answer <= 1)).all()), answer.shape[1]
    if shares and columns > 1 and torch.allclose(answer.sum(dim=1), torch.ones(len(answer)), atol=1e-5):
        return "probabilities"
    if columns == 1:
        return "sigmoid" if shares else "logit"
    return "logits"
