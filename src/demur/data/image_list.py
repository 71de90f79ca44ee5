"""Encoded images listed one by one and decoded as they are read: the source behind folders, CSV and Parquet files."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from demur.compact import Places
from demur.data.compact_rows import CompactRows
from demur.data.decoding import Decoded, open_picture
from demur.data.lost_images import Lost, by_address_without, lost_when_opened
from demur.data.source import Row
from demur.errors import DataError
from demur.pictures.decode_rules import Rules
from demur.registry.regular_files import MIB, content_of, reason

Load: TypeAlias = Callable[[int], bytes]
"""The encoded image at a position; an `OSError` says why there is none."""

Decode: TypeAlias = Callable[[int, int | None, Rules], Decoded]
"""The image at a position, for a set of so many channels, by rules."""

Marked: TypeAlias = Callable[[Row], Row]
"""Adds to a row that was read where its object is."""

_SAMPLE = 64
_LARGEST = 256 * MIB


@dataclass(frozen=True)
class Files:
    """Images in files of their own; called with a position, it reads one."""

    root: Path
    names: Sequence[str]

    def __call__(self, position: int) -> bytes:
        """The bytes of a regular file."""
        return content_of(self.root / self.names[position], _LARGEST)


@dataclass(frozen=True, eq=False)
class Selection:
    """Some of the images that a load reads."""

    load: Load
    positions: Places

    def __call__(self, position: int) -> bytes:
        """The encoded image at a position among those picked."""
        return self.load(int(self.positions[position]))


@dataclass(frozen=True, eq=False)
class ImageListSource:
    """Rows that are known before their images are read.

    Attributes:
        listed: the rows, their images not read yet.
        load: reads the encoded image at a position.
        rules: how it becomes a tensor.
        marked: adds to a row that was read where its object is.
        lost: positions whose images are never decoded, and why.
    """

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    listed: CompactRows
    load: Load
    rules: Rules
    marked: Marked | None = None
    lost: Lost = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return by_address_without(self)

    def __len__(self) -> int:
        return len(self.listed)

    def picture(self, position: int) -> bytes:
        """The encoded picture at a position; an `OSError` says why there is none."""
        if position in self.lost:
            raise OSError(self.lost[position])
        return self.load(position)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions, in any order at the same cost."""
        for position in positions:
            row = self.listed.with_image(position, *self._image(position))
            yield row if self.marked is None else self.marked(row)

    def _image(self, position: int) -> Decoded:
        lost = self.lost.get(position)
        return _decode(self.load, position, self.input_shape[0], self.rules) if lost is None else (None, lost)


def image_list_source(
    address: str,
    classes: Sequence[str],
    listed: Iterable[Row],
    load: Load,
    rules: Rules,
    marked: Marked | None = None,
) -> ImageListSource:
    """A source whose image shape is the usual one of a sample spread over the rows.

    Raises:
        DataError: no image of the sample can be read, or no size is usual among them.
    """
    rows = CompactRows.of(listed)
    shape, lost = usual_shape(address, rows, partial(_decode, load), rules)
    return ImageListSource(address, tuple(classes), shape, rows, load, rules, marked, lost)


def _decode(load: Load, position: int, channels: int | None, rules: Rules) -> Decoded:
    try:
        content = load(position)
    except OSError as error:
        return None, f"cannot read the file: {reason(error)}"
    return open_picture(content, channels, rules) if content else (None, "no image bytes")


def _shape_of(answer: Decoded, rules: Rules) -> tuple[tuple[int, int, int] | None, str | None]:
    image, error = answer
    if image is None:
        return None, error
    channels, height, width = image.shape
    return (channels, *(rules.size or (height, width))), None


def usual_shape(address: str, listed: Sequence[Row], decode: Decode, rules: Rules) -> tuple[tuple[int, int, int], Lost]:
    """The most common shape of a sample spread over the rows, so that one odd image does not decide for all.

    Images that are known to end the process that decodes them take no part; returned beside it with those found here.

    Raises:
        DataError: no image of the sample can be read, or no size is usual among them.
    """
    sample = sorted({place * len(listed) // _SAMPLE for place in range(_SAMPLE)}) if listed else []
    drawn = rules
    if rules.size is not None:  # it is known then, however large it is
        drawn = replace(rules.of_masks, size=(1, 1), resize=None, crop=False)
    lost = lost_when_opened(listed, sample, lambda position: decode(position, None, drawn))
    answers = [
        (None, lost[position]) if position in lost else _shape_of(decode(position, None, drawn), rules)
        for position in sample
    ]
    shapes = Counter(shape for shape, _ in answers if shape is not None)
    if not shapes:
        first = f"; the first says: {answers[0][1]}" if answers else ""
        raise DataError(
            f"none of {len(sample)} images of {address}, taken from all over the set, can be read{first}. Check the "
            "address and its options."
        )
    (channels, height, width), usual = shapes.most_common(1)[0]
    if usual * 2 < sum(shapes.values()):
        raise DataError(
            f"the images of {address} come in many sizes: of {sum(shapes.values())} sampled, the most common, "
            f"{height}×{width}, fits {usual}. A classifier takes one size: write ?size=HEIGHTxWIDTH, with &crop=center "
            "to cut instead of stretching."
        )
    return (channels, height, width), lost
