"""Rows of a set, and what a pass found of them, in columns: they are made when they are asked for."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from demur.compact import Choices, Compact, Growing, GrowingBoxes, GrowingGaps, GrowingTexts, Places, Texts, choices_of
from demur.data.source import Box, Row

_FACTS = ("group", "error", "split", "label2", "weight")
_NO_BOX = (0, 0, 0, 0)
_WIDE = 1 << 62


@dataclass(frozen=True, eq=False)
class CompactRows(Sequence[Row]):
    """Rows without images.

    Attributes:
        sample_ids: their keys.
        labels: int64 (rows,).
        facts: what `Row` calls `group`, `error`, `split`, `label2` and `weight`.
        boxes: where the objects are.
        metadata: what else is known, by name; None where nothing is said.
        unsaid: of names that some rows do not have at all, bool (rows,), which these are.
    """

    sample_ids: Texts
    labels: NDArray[np.int64]
    facts: Mapping[str, Compact[Any]]
    boxes: Compact[Box | None]
    metadata: Mapping[str, Compact[str | float | None]]
    unsaid: Mapping[str, NDArray[np.bool_]]

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

    @cached_property
    def _columns(self) -> list[tuple[str, Compact[Any]]]:
        """The columns that say anything."""
        columns = [*self.facts.items(), ("box", self.boxes)]
        return [(name, column) for name, column in columns if not (isinstance(column, Choices) and not column.choices)]

    def at(self, place: int, image: Tensor | None = None) -> Row:
        """The row at a place that there is, with an image if there is one."""
        told = {name: column.at(place) for name, column in self._columns}
        if image is not None:
            told["error"] = None
        if self.metadata:
            told["meta"] = self._meta(place)
        return Row(self.sample_ids.at(place), image, int(self.labels[place]), **told)

    def with_image(self, place: int, image: Tensor | None, error: str | None) -> Row:
        """The row at a place that there is, with its image or the reason why there is none."""
        row = self.at(place, image)
        return row if image is not None and error is None else row.showing(image, error)

    def _meta(self, place: int) -> dict[str, str | float | None]:
        if not self.unsaid:
            return {name: column.at(place) for name, column in self.metadata.items()}
        return {
            name: column.at(place)
            for name, column in self.metadata.items()
            if name not in self.unsaid or not self.unsaid[name][place]
        }

    def select(self, places: Places) -> "CompactRows":
        """The rows at some places; names that none of them has are left out."""
        unsaid = {name: missing[places] for name, missing in self.unsaid.items()}
        return CompactRows(
            self.sample_ids.select(places),
            self.labels[places],
            {name: column.select(places) for name, column in self.facts.items()},
            self.boxes.select(places),
            {
                name: column.select(places)
                for name, column in self.metadata.items()
                if name not in unsaid or not unsaid[name].all()
            },
            {name: missing for name, missing in unsaid.items() if missing.any() and not missing.all()},
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


class _GrowingMeta:
    """A column of metadata while it grows: which rows say something, and what."""

    def __init__(self, unsaid: int) -> None:
        self.column, self._missing = Growing(), bytearray(b"\1" * unsaid)
        for _ in range(unsaid):
            self.column.add(None)

    def add(self, row: Row, name: str) -> None:
        """One more."""
        self._missing.append(name not in row.meta)
        self.column.add(row.meta.get(name))

    def missing(self) -> NDArray[np.bool_]:
        """Which rows say nothing, not even None."""
        return np.frombuffer(self._missing, np.bool_)


class GrowingRows:
    """Rows while they come, one after the other; their images are left behind."""

    def __init__(self) -> None:
        self._ids, self._labels = GrowingTexts(), array("q")
        self._facts = {name: Growing() for name in _FACTS}
        self._boxes = GrowingGaps(GrowingBoxes(), _NO_BOX)
        self._meta = dict[str, _GrowingMeta]()

    def add(self, row: Row) -> None:
        """One more."""
        for name in row.meta:
            if name not in self._meta:
                self._meta[name] = _GrowingMeta(len(self._labels))
        for name, each in self._meta.items():
            each.add(row, name)
        for name, column in self._facts.items():
            column.add(getattr(row, name))
        self._boxes.add(row.box)
        self._ids.add(str(row.sample_id))
        self._labels.append(_whole(row.label))

    def finish(self) -> CompactRows:
        """All of them; none can be added after that."""
        missing = {name: each.missing() for name, each in self._meta.items()}
        return CompactRows(
            self._ids.finish(),
            np.array(self._labels, dtype=np.int64),
            {name: column.finish() for name, column in self._facts.items()},
            self._boxes.finish(),
            {name: each.column.finish() for name, each in self._meta.items()},
            {name: each for name, each in missing.items() if each.any()},
        )


def _whole(label: object) -> int:
    """A label as a number; −1 of one that is none, which only images have whose labels nobody reads."""
    try:
        number = int(label)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return -1
    return int(number) if -_WIDE < number < _WIDE else -1
