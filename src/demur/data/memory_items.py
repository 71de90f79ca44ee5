"""Items of data sets that Python has: the image and the label in a pair or a mapping, whatever library made it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from demur.data.decoding import HOSTILE, Decoded, decode_picture, first_line, open_picture
from demur.data.task_refusals import several_labels, too_many
from demur.errors import DataError, brief, legible

IMAGE_KEYS = ("image", "images", "img", "picture", "pixel_values", "x", "jpg", "jpeg", "png", "webp")
LABEL_KEYS = ("label", "labels", "target", "class", "y", "cls", "fine_label")

_INT64 = 1 << 63
_MOST_BANDS = 16
"""An axis of at most so many steps may be the channels; a longer one is the height or the width."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Where mappings have the image and the label; None where the usual names are tried."""

    image: str | None = None
    label: str | None = None

    def pair(self, item: Any, where: str) -> tuple[Any, Any]:
        """The image and the label of an item, or of a batch.

        Raises:
            DataError: it is neither a pair nor a mapping that has both.
        """
        if isinstance(item, Mapping):
            image, label = _key(item, self.image, IMAGE_KEYS, where), _key(item, self.label, LABEL_KEYS, where)
            return item[image], item[label]
        if isinstance(item, (tuple, list)) and len(item) == 2:
            return item[0], item[1]
        what = f"{type(item).__name__} of {len(item)}" if isinstance(item, (tuple, list)) else type(item).__name__
        raise DataError(
            f"{where} is not a readable (image, label), but a {what}. Give pairs, or mappings with the keys image and "
            "label."
        )


def _key(item: Mapping[Any, Any], named: str | None, usual: Sequence[str], where: str) -> str:
    found = [name for name in usual if name in item] if named is None else [named]
    if found and found[0] in item:
        return found[0]
    keys = ", ".join(brief(str(key)) for key in list(item)[:12])
    raise DataError(
        f"{where} has no key {' or '.join(map(repr, [named] if named else usual[:3]))}; its keys are {keys}. Name it: "
        f"demur.from_dataset(data, {usual[0]}='…')."
    )


def image_of(image: Any, channels: int | None) -> Decoded:
    """Float32 (channels, height, width) in [0, 1] of a tensor, an array, a Pillow image or a picture's bytes.

    Bytes are divided by 255; floats are taken as they are. Tensors are channels first, arrays either way.

    Raises:
        DataError: of another kind or type.
    """
    if isinstance(image, Mapping) and isinstance(image.get("bytes"), bytes):  # undecoded, as Hugging Face has it
        image = image["bytes"]
    if isinstance(image, bytes):
        return open_picture(image, channels)
    if isinstance(image, Image):
        try:
            return decode_picture(image, channels)
        except HOSTILE as error:
            return None, f"cannot decode the image: {first_line(error)}"
    if isinstance(image, np.ndarray):
        image = _channels_first(image)
    if not isinstance(image, Tensor):
        raise DataError(
            "images must be float tensors in [0, 1], arrays or tensors of bytes, or Pillow images; got "
            f"{type(image).__name__}. Convert them in the data set's transform."
        )
    return _in_unit_range(image), None


def _in_unit_range(image: Tensor) -> Tensor:
    if image.ndim != 3 or not (image.is_floating_point() or image.dtype == torch.uint8):
        raise DataError(
            f"images must be floats (channels, height, width) in [0, 1], or bytes; got {image.dtype} of the shape "
            f"{tuple(image.shape)}. Convert to float and divide by the value of white, which is 255 for bytes."
        )
    values = image.detach().to("cpu", torch.float32)
    return values / 255 if image.dtype == torch.uint8 else values


def _channels_first(image: NDArray[Any]) -> Tensor:
    """An array (height, width), (height, width, channels) or (channels, height, width)."""
    if image.dtype.kind not in "f" and image.dtype != np.uint8:
        raise DataError(
            f"images in arrays must be bytes, or floats in [0, 1]; got {image.dtype}. Convert to float and divide by "
            "the value of white, such as 4095 or 65535."
        )
    whole = image[None] if image.ndim == 2 else image
    last = image.ndim == 3 and _is_last(image.shape)
    values = np.ascontiguousarray(whole.transpose(2, 0, 1) if last else whole)
    return torch.from_numpy(values if values.dtype == np.uint8 else values.astype(np.float32))


def _is_last(shape: tuple[int, ...]) -> bool:
    """Whether the channels of an array are its last axis.

    Raises:
        DataError: its shape leaves open which axis they are.
    """
    for few in ((1, 3), range(1, _MOST_BANDS + 1)):
        first, last = shape[0] in few, shape[-1] in few
        if first != last:
            return last
    raise DataError(
        f"an array of the shape {shape} leaves open whether its channels are first or last. Give tensors (channels, "
        "height, width)."
    )


@dataclass(frozen=True)
class Names:
    """The class names of a data set, and the numbers of labels that are written as names."""

    classes: tuple[str, ...]
    places: Mapping[str, int]

    @classmethod
    def of(cls, classes: Iterable[object]) -> "Names":
        """Those that are declared, in their order."""
        names = tuple(map(str, classes))
        return cls(names, {name: number for number, name in reversed([*enumerate(names)])})

    def number(self, label: Any, where: str) -> int:
        """The number of a label.

        Raises:
            DataError: it is neither a whole number nor one of the names.
        """
        if isinstance(label, str):
            if label.strip() in self.places:
                return self.places[label.strip()]
            if not is_numbered(self.classes):
                raise DataError(
                    f"{where} has the label {brief(repr(legible(label)))}, which is none of the {len(self.classes)} "
                    f"classes {', '.join(map(brief, self.classes[:12]))}. Correct it, or name all the classes."
                )
        return whole(label, where)


def is_numbered(classes: Sequence[str]) -> bool:
    """Whether classes are called by their numbers, so that no name is one of them."""
    return tuple(classes) == tuple(map(str, range(len(classes))))


def names_in(labels: Sequence[Any], where: str) -> Names:
    """The classes of labels that are all names, sorted, or all whole numbers, from 0 to the largest.

    Raises:
        DataError: both, neither, ids or dates.
    """
    if labels and all(isinstance(label, str) for label in labels):
        found = {str(label).strip() for label in labels}
        several_labels(found, where)
        too_many(len(found), found, where)
        return Names.of(sorted(found))
    numbers = {whole(label, f"item {at} of {where!r}") for at, label in enumerate(labels)}
    if numbers and min(numbers) < 0:
        raise DataError(f"labels must be whole numbers from 0 on; got {min(numbers)}.")
    count = max(2, max(numbers, default=0) + 1)  # at least two, since a classifier chooses
    too_many(count, numbers, "these labels")
    return Names.of(range(count))


def whole(label: object, where: str) -> int:
    """A label as a number.

    Raises:
        DataError: it is none.
    """
    try:
        number = int(label)  # type: ignore[call-overload]  # whatever is no number says so
        if not isinstance(label, str) and number == label and abs(number) < _INT64:
            return int(number)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass
    raise DataError(
        f"{where} has the label {brief(repr(label))}; labels must be whole numbers from 0 on, or all of them names. "
        "Map each to the position of its class."
    )
