"""Images that lie as plain numbers in a file, each read when it is wanted: the source behind NPZ and CIFAR-10 files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from demur.data.listed import reason
from demur.data.pictures import Decoded, decoded
from demur.data.rules import Rules
from demur.data.source import Row
from demur.errors import AddressError

Fetch: TypeAlias = Callable[[int], NDArray[Any]]
"""The image at a position, (height, width, channels) of uint8, uint16 or floats in [0, 1]."""


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Rows whose images are fetched from a file.

    Attributes:
        listed: the rows, their images not read yet.
        fetch: reads the image at a position.
        rules: how it becomes a tensor.
    """

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    listed: tuple[Row, ...]
    fetch: Fetch
    rules: Rules

    def __len__(self) -> int:
        return len(self.listed)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions, in any order at the same cost."""
        for position in positions:
            yield self.listed[position].showing(*self._image(position))

    def _image(self, position: int) -> Decoded:
        try:
            picture = self.fetch(position)
        except OSError as error:
            return None, f"cannot read the file: {reason(error)}"
        return as_tensor(picture, self.input_shape[0], self.rules)


def array_source(
    address: str, classes: Sequence[str], shape: tuple[int, int, int], listed: Sequence[Row], fetch: Fetch, rules: Rules
) -> ArraySource:
    """A source over stored images of the shape (height, width, channels)."""
    height, width, channels = shape
    after = (rules.channels or channels, *(rules.size or (height, width)))
    return ArraySource(address, tuple(classes), after, tuple(listed), fetch, rules)


def check_rules(address: str, dtype: np.dtype[Any], rules: Rules) -> None:
    """Floats are taken as they are."""
    if dtype.kind == "f" and rules != Rules():
        raise AddressError(
            f"{address}: images stored as floats are taken as they are, without size, crop, colour or full_scale. "
            "Store them as uint8 or uint16, or resize them before saving."
        )


def as_tensor(picture: NDArray[Any], channels: int, rules: Rules) -> Decoded:
    """One stored image as float32 (channels, height, width) in [0, 1], or why it cannot be."""
    if picture.dtype.kind == "f":
        return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1).contiguous(), None
    if picture.dtype == np.uint16 and picture.shape[2] == 3:
        return None, "more than 8 bits per colour; store colour as uint8 or as floats in [0, 1]"
    flat = picture[..., 0] if picture.shape[2] == 1 else picture
    return decoded(Image.fromarray(np.ascontiguousarray(flat)), channels, rules)
