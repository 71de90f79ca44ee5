"""A source under the class names of a model, or under coarser ones: labels become places among these."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from demur.class_names import ClassMap, meeting
from demur.data.source import Row, Source
from demur.errors import DataError


@dataclass(frozen=True, eq=False)
class RelabelledSource:
    """The rows of a source with other classes.

    Attributes:
        source: the rows as they are.
        classes: what the classes are called now; there may be some without images.
        places: for every class of the source its position among them.
        address: what the set is called.
    """

    source: Source
    classes: tuple[str, ...]
    places: tuple[int, ...]
    address: str

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """That of the source."""
        return self.source.input_shape

    def __len__(self) -> int:
        return len(self.source)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions."""
        return map(self.under_these, self.source.read(positions))

    def under_these(self, row: Row) -> Row:
        """A row of the source with its labels among these classes.

        Raises:
            DataError: one is no class of the source.
        """
        second = None if row.label2 is None else self._place(row.label2, row.sample_id)
        return replace(row, label=self._place(row.label, row.sample_id), label2=second)

    def _place(self, label: int, sample_id: str) -> int:
        if not 0 <= label < len(self.places):
            raise DataError(
                f"image {sample_id!r} has label {label}; the {len(self.places)} classes of {self.address} are numbered "
                f"0 to {len(self.places) - 1}. Correct the labels or name all the classes."
            )
        return self.places[label]


def under_classes(source: Source, classes: tuple[str, ...], model: str) -> Source:
    """The source with its classes among those of a model; itself where they are the same in the same order.

    Args:
        source: the images.
        classes: names in the order of the model's outputs.
        model: what errors call the model.

    Raises:
        DataError: classes of the data that are none of the model's, with a table of them.
    """
    if tuple(source.classes) == classes:
        return source
    places = meeting(source.classes, classes).whole(model, source.address)
    return RelabelledSource(source, classes, places, source.address)


def coarsened(source: Source, table: ClassMap, file: str, address: str) -> Source:
    """The source with the coarse classes of a table; every class of the source must stand in it.

    Args:
        source: the images.
        table: fine and coarse classes.
        file: what errors call the table.
        address: what the set is called now.

    Raises:
        DataError: a class of the data that the table does not map.
    """
    found = meeting(source.classes, table.fine)
    if found.missing:
        found.whole(file, address)
    number = [table.classes.index(name) for name in table.coarse]
    places = tuple(number[place] for place in found.places if place is not None)
    return RelabelledSource(source, table.classes, places, address)


def as_opened(source: Source) -> Source:
    """The source that was opened, under the classes that it has itself."""
    return as_opened(source.source) if isinstance(source, RelabelledSource) else source
