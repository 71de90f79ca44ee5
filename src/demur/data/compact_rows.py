"""Rows of a set, and what a pass found of them, in columns: they are made when they are asked for."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from demur.compact import Choices, Compact, Growing, GrowingBoxes, GrowingGaps, GrowingTexts, Places, Texts, choices_of
from demur.data.source import Box, Row

_UNSAID = ...
"""In a column of meta data: the row does not have it at all."""

_FACTS = ("group", "error", "split", "label2", "weight")
_NO_DIGEST, _NO_BOX = "00" * 32, (0, 0, 0, 0)


@dataclass(frozen=True, eq=False, slots=True)
class CompactRows(Sequence[Row]):
    """Rows without images.

    Attributes:
        sample_ids: their keys.
        labels: int64 (rows,).
        facts: what `Row` calls `group`, `error`, `split`, `label2` and `weight`.
        boxes: where the objects are.
        meta: what else is known, by name.
    """

    sample_ids: Texts
    labels: NDArray[np.int64]
    facts: Mapping[str, Compact[Any]]
    boxes: Compact[Box | None]
    meta: Mapping[str, Compact[Any]]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "CompactRows":
        """These rows; their images are left behind."""
        if isinstance(rows, CompactRows):
            return rows
        growing = GrowingRows()
        for row in rows:
            growing.add(row)
        return growing.finish()

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> "CompactRows": ...
    def __getitem__(self, place: int | slice) -> "Row | CompactRows":
        places = range(len(self))[place]
        return self.select(np.array(places, dtype=np.int64)) if isinstance(places, range) else self.at(places)

    def __iter__(self) -> Iterator[Row]:
        return map(self.at, range(len(self)))

    def at(self, place: int) -> Row:
        """The row at a place that there is."""
        said = ((name, column.at(place)) for name, column in self.meta.items())
        return Row(
            self.sample_ids.at(place),
            None,
            int(self.labels[place]),
            box=self.boxes.at(place),
            meta={name: value for name, value in said if value is not _UNSAID},
            **{name: column.at(place) for name, column in self.facts.items()},
        )

    def select(self, places: Places) -> "CompactRows":
        """The rows at some places."""
        return CompactRows(
            self.sample_ids.select(places),
            self.labels[places],
            {name: column.select(places) for name, column in self.facts.items()},
            self.boxes.select(places),
            {name: column.select(places) for name, column in self.meta.items()},
        )

    @property
    def groups(self) -> Choices:
        """The unit of independence of each row."""
        return choices_of(self.facts["group"])

    @property
    def errors(self) -> Choices:
        """Why each could not be read."""
        return choices_of(self.facts["error"])

    @property
    def own_splits(self) -> Choices:
        """What the user's own split calls each row."""
        return choices_of(self.facts["split"])

    def metadata(self) -> dict[str, Compact[str | float | None]]:
        """What else is known of the rows, by the names that any of them has; None where nothing is said of one."""
        return {
            name: column.without(_UNSAID) if isinstance(column, Choices) else column
            for name, column in self.meta.items()
            if not isinstance(column, Choices) or not column.are(_UNSAID).all()
        }


class GrowingRows:
    """Rows while they come, one after the other; their images are left behind."""

    def __init__(self) -> None:
        self._ids, self._labels = GrowingTexts(), array("q")
        self._facts = {name: Growing() for name in _FACTS}
        self._boxes = GrowingGaps(GrowingBoxes(), _NO_BOX)
        self._meta = dict[str, Growing]()

    def add(self, row: Row) -> None:
        """One more."""
        for name in row.meta:
            if name not in self._meta:
                self._meta[name] = Growing()
                for _ in self._labels:
                    self._meta[name].add(_UNSAID)
        for name, column in self._meta.items():
            column.add(row.meta.get(name, _UNSAID))
        for name, column in self._facts.items():
            column.add(getattr(row, name))
        self._boxes.add(row.box)
        self._ids.add(row.sample_id)
        self._labels.append(row.label)

    def finish(self) -> CompactRows:
        """All of them; none can be added after that."""
        return CompactRows(
            self._ids.finish(),
            np.array(self._labels, dtype=np.int64),
            {name: column.finish() for name, column in self._facts.items()},
            self._boxes.finish(),
            {name: column.finish() for name, column in self._meta.items()},
        )
