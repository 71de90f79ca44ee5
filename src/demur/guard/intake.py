"""From bytes, files and arrays to the images a guard decides about, as the audit read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.classifier.validation import check_images, clamped
from demur.data.decoding import Decoded, open_picture
from demur.errors import DataError
from demur.pictures.decode_rules import Rules
from demur.registry.regular_files import MIB, content_of, reason
from demur.shapes import Images

Picture: TypeAlias = bytes | Path | str
"""A picture as it is in a file: its bytes, or where it lies."""

LARGEST = 256 * MIB
"""How many bytes the file of a picture may have."""


@dataclass(frozen=True, kw_only=True)
class Intake:
    """How images come to a model: decoded by rules that the audit had, of one shape.

    Attributes:
        rules: size, crop and colour.
        input_shape: (channels, height, width).
    """

    rules: Rules
    input_shape: tuple[int, int, int]

    def decode(self, picture: Picture) -> Decoded:
        """The image (channels, height, width) in [0, 1], or the reason why there is none."""
        try:
            content = picture if isinstance(picture, bytes) else content_of(Path(picture), LARGEST)
        except OSError as error:
            return None, f"cannot be read: {reason(error)}"
        image, why = open_picture(content, self.input_shape[0], self.rules)
        if image is None or tuple(image.shape) == self.input_shape:
            return image, why
        found, wanted = ("×".join(map(str, shape)) for shape in (image.shape, self.input_shape))
        return None, f"an image of {found}, and the model reads {wanted}"

    def batch(self, pictures: Sequence[Picture]) -> tuple[Images, tuple[str, ...]]:
        """Images (rows, channels, height, width), grey where one could not be read, and what is wrong with each.

        Raises:
            DataError: something else than bytes and paths, or one alone that is not in a list.
        """
        listed = [pictures] if isinstance(pictures, bytes | bytearray | str | Path) else pictures
        strange = [each for each in listed if not isinstance(each, bytes | str | Path)]
        if strange or listed is not pictures:
            raise DataError(
                "pictures are a list of bytes and paths; got "
                f"{f'one with {_kind(strange[0])}' if strange else f'{type(pictures).__name__} alone'}. Ask about one "
                "picture by answer(picture), about tensors by guard(images)."
            )
        decoded = [self.decode(picture) for picture in pictures]
        grey = torch.full(self.input_shape, 0.5)
        images = [grey if image is None else image for image, _ in decoded]
        stacked = torch.stack(images) if images else torch.empty(0, *self.input_shape)
        return stacked, tuple(why or "" for _, why in decoded)

    def tensor(self, images: Tensor | NDArray[np.generic]) -> Images:
        """Images (rows, channels, height, width) in [0, 1] as the model reads them; one alone is a batch of one.

        Raises:
            DataError: wrong type, shape or range.
        """
        found = _of_array(images) if isinstance(images, np.ndarray) else images
        if not isinstance(found, Tensor) or found.layout != torch.strided or found.is_meta:
            raise DataError(
                "images are a tensor or array (rows, channels, height, width) in [0, 1], or bytes and paths of "
                f"pictures; got {_kind(found)}."
            )
        whole = found[None] if found.ndim == 3 else found
        if whole.is_floating_point():  # the answers of an audit are in single precision, so its bounds are too
            whole = whole.float()
        if whole.ndim == 4 and not len(whole):
            return whole
        if whole.is_floating_point() and tuple(whole.shape[1:]) == self.input_shape:
            low, high = torch.aminmax(whole)
            if bool((low >= 0) & (high <= 1)):  # NaN is neither
                return whole
        check_images(whole, self.input_shape)
        return clamped(whole)


def _of_array(array: NDArray[np.generic]) -> Tensor:
    """A tensor of the same numbers, whatever their width and byte order.

    Raises:
        DataError: they are no numbers.
    """
    try:
        plain = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(array.dtype.newbyteorder("="))
        return torch.from_numpy(np.array(plain))
    except TypeError:
        raise DataError(f"images are floating-point numbers in [0, 1]; got an array of {array.dtype}.") from None


def _kind(images: object) -> str:
    if not isinstance(images, Tensor):
        return type(images).__name__
    return "a tensor on the meta device, which has no numbers" if images.is_meta else f"a tensor in {images.layout}"
