"""Images listed one by one that a library decodes, and demur scales: the source behind DICOM files and torchvision."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from demur.data.compact_rows import CompactRows
from demur.data.image_list import Decode, usual_shape
from demur.data.lost_images import Lost, by_address_without
from demur.data.source import Row
from demur.pictures.decode_rules import Rules


@dataclass(frozen=True, eq=False)
class DecodedListSource:
    """Rows that are known before their images are read.

    Attributes:
        listed: the rows, their images not read yet.
        decode: reads the image at a position.
        rules: how it becomes a tensor.
        values: how stored values became shades before, in words.
        lost: positions whose images are never decoded, and why.
    """

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    listed: CompactRows
    decode: Decode
    rules: Rules
    values: str = ""
    lost: Lost = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return by_address_without(self)

    def __len__(self) -> int:
        return len(self.listed)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions, in any order at the same cost."""
        for position in positions:
            lost = self.lost.get(position)
            found = self.decode(position, self.input_shape[0], self.rules) if lost is None else (None, lost)
            yield self.listed.with_image(position, *found)


def decoded_list_source(
    address: str, classes: Sequence[str], listed: Iterable[Row], decode: Decode, rules: Rules, values: str = ""
) -> DecodedListSource:
    """A source whose image shape is the usual one of a sample spread over the rows.

    Raises:
        DataError: no image of the sample can be read, or no size is usual among them.
    """
    rows = CompactRows.of(listed)
    shape, lost = usual_shape(address, rows, decode, rules)
    return DecodedListSource(address, tuple(classes), shape, rows, decode, rules, values, lost)
