"""What every source of labelled images gives."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from demur.class_names import is_class_map, read_class_map
from demur.errors import AddressError, DataError
from demur.registry import Address, resolve
from demur.splits import OwnSplit

Meta: TypeAlias = Mapping[str, str | float | None]
"""What else is known of an image: site, age, camera, …; text or finite numbers."""

Box: TypeAlias = tuple[int, int, int, int]
"""Where the object is: left, top, right, bottom in pixels of the image as read; right and bottom lie outside."""

UNREAD = "not read yet"
"""Why a row that is only listed has no image."""


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """One labelled image, or the reason why it could not be read.

    Attributes:
        sample_id: its key; unique in the set.
        image: float32 (channels, height, width) in [0, 1]; None exactly when `error` says why.
        label: a position among the classes of the set.
        group: the unit of independence: patient, module, lot, camera.
        error: why there is no image.
        meta: what else is known.
        split: the user's own split; None where demur shares the row out by hash.
        label2: what a second labeller said.
        weight: how sure the label is, 0 and up.
        box: where the object is.
        mask: bool (height, width), the pixels of the object.
    """

    sample_id: str
    image: Tensor | None
    label: int
    group: str | None = None
    error: str | None = None
    meta: Meta = field(default_factory=dict)
    split: OwnSplit | None = None
    label2: int | None = None
    weight: float | None = None
    box: Box | None = None
    mask: Tensor | None = None

    @property
    def mark(self) -> Tensor | None:
        """The pixels of the object, bool (height, width), by its mask or else its box; None where none is known.

        An object that was cut away with the rim of its picture is none.
        """
        if self.image is None:
            return None
        mark = self.mask
        if mark is None and self.box is not None:
            mark = box_mask([self.box], *self.image.shape[1:])
        return mark if mark is not None and bool(mark.any()) else None

    def showing(self, image: Tensor | None, error: str | None) -> "Row":
        """The same row with this image, or with the reason why there is none."""
        return replace(self, image=image, error=error)


def box_mask(boxes: Sequence[Box], height: int, width: int) -> Tensor:
    """Bool (height, width): the pixels inside any of the boxes."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    for left, top, right, bottom in boxes:
        mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    return mask


@runtime_checkable
class Source(Protocol):
    """A numbered set of labelled images that is read as a stream, so that memory stays flat."""

    @property
    def address(self) -> str:
        """What the set is called in plans and reports."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; a label is a position among them."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every readable image."""

    def __len__(self) -> int:
        """How many rows there are, unreadable ones included."""

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions, in this order; an image that cannot be read is a row with an error."""


def open_data(text: str) -> Source:
    """The source behind a data address, such as `fashion`, `digits`, `idx:FOLDER?split=train` or `parquet:FILE`.

    With `?classes=@map.csv` its classes are the coarse ones of that table.
    """
    address = Address.parse(text, "data")
    choice = address.options.get("classes", "")
    if not is_class_map(choice):
        source: Source = resolve("data", address.scheme)(address)
        return source
    from demur.data.relabelled import coarsened

    fine = replace(address, options={key: value for key, value in address.options.items() if key != "classes"})
    return coarsened(open_data(fine.text), read_class_map(choice), choice[1:], text)


def by_address(source: Source) -> tuple[Callable[[str, int], Source], tuple[str, int]]:
    """How a source travels to another process, in the form of `__reduce__`: no open file does, its address is reopened.

    A relative address leads there from the same folder only.
    """
    return reopened, (source.address, len(source))


def reopened(address: str, rows: int) -> Source:
    """The source at an address, opened again.

    Raises:
        DataError: it has another number of rows now.
    """
    source = open_data(address)
    if len(source) != rows:
        raise DataError(
            f"{address} must hold the {rows} images it had when it was opened first; it has {len(source)} now. Bring "
            "them back, or begin a new run."
        )
    return source


def check_shape(row: Row, input_shape: tuple[int, int, int]) -> Row:
    """The row itself, or a row with an error where its image has another shape than the set."""
    if row.image is None or tuple(row.image.shape) == input_shape:
        return row
    found, wanted = ("×".join(map(str, shape)) for shape in (row.image.shape, input_shape))
    return row.showing(None, f"size {found} in a set of {wanted} images")


def location_of(address: Address) -> str:
    """The path of a data address; an `@` belongs to it, since data have no weights."""
    return f"{address.location}@{address.weights}" if address.weights else address.location


def path_of(address: Address) -> Path:
    """The path of an address that needs one."""
    if not location_of(address):
        raise AddressError(f"the address {address.scheme!r} needs a path. Write {address.scheme}:PATH.")
    return Path(location_of(address))
