"""What every source of labelled images gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Row:
    """One labelled image, or the reason why it could not be read.

    `image` is float32 (channels, height, width) in [0, 1]; it is None exactly when `error` says why. `group` names the
    unit of independence: patient, module, lot, camera.
    """

    sample_id: str
    image: Tensor | None
    label: int
    group: str | None = None
    error: str | None = None


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


def shaped(row: Row, input_shape: tuple[int, int, int]) -> Row:
    """The row itself, or a row with an error where its image has another shape than the set."""
    if row.image is None or tuple(row.image.shape) == input_shape:
        return row
    found, wanted = ("×".join(map(str, shape)) for shape in (row.image.shape, input_shape))
    return Row(row.sample_id, None, row.label, row.group, f"size {found} in a set of {wanted} images")
