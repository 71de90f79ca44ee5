"""Images listed one by one that a library decodes, and demur scales: the source behind DICOM files and torchvision."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from demur.data.image_list import Decode, usual_shape
from demur.data.source import Row, by_address
from demur.pictures.decode_rules import Rules


@dataclass(frozen=True, eq=False)
class DecodedListSource:
    """Rows that are known before their images are read.

    Attributes:
        listed: the rows, their images not read yet.
        decode: reads the image at a position.
        rules: how it becomes a tensor.
        values: how stored values became shades before, in words.
    """

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    listed: tuple[Row, ...]
    decode: Decode
    rules: Rules
    values: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return by_address(self)

    def __len__(self) -> int:
        return len(self.listed)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions, in any order at the same cost."""
        for position in positions:
            yield self.listed[position].showing(*self.decode(position, self.input_shape[0], self.rules))


def decoded_list_source(
    address: str, classes: Sequence[str], listed: Sequence[Row], decode: Decode, rules: Rules, values: str = ""
) -> DecodedListSource:
    """A source whose image shape is the usual one of a sample spread over the rows.

    Raises:
        DataError: no image of the sample can be read, or no size is usual among them.
    """
    shape = usual_shape(address, len(listed), decode, rules)
    return DecodedListSource(address, tuple(classes), shape, tuple(listed), decode, rules, values)
