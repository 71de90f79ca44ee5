"""Compact sequences of items that are one of few choices, numbers, boxes, or none, and how these grow."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from demur.compact.sequences import Compact, Places, Texts, is_all, numbers_in

T_co = TypeVar("T_co", covariant=True)

_MANY = 4096
"""Choices from which on their texts lie in one piece of memory."""

_SIDES = 4


class Choices(Compact[Any]):
    """Items of which many are the same.

    Attributes:
        codes: whole numbers (items,); 0 stands for None, k for the k-th choice.
        choices: what there is.
    """

    __slots__ = ("choices", "codes")

    def __init__(self, codes: NDArray[Any], choices: Sequence[Any]) -> None:
        self.codes: NDArray[Any] = codes.astype(np.min_scalar_type(len(choices)), copy=False)
        texts = len(choices) > _MANY and all(type(each) is str for each in choices)
        self.choices: Sequence[Any] = Texts.of(choices) if texts else choices

    @classmethod
    def of(cls, items: Iterable[Any]) -> "Choices":
        """These items, which are the same where their kind and what they look like is."""
        if isinstance(items, Choices):
            return items
        growing = _GrowingChoices()
        for item in items:
            growing.add(item)
        return growing.finish()

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Any]:
        return map(self._of, numbers_in(self.codes))

    def at(self, place: int) -> Any:
        """The item at a place that there is."""
        return self._of(int(self.codes[place]))

    def _of(self, code: int) -> Any:
        return self.choices[code - 1] if code else None

    def select(self, places: Places) -> "Choices":
        """The items at some places, of the choices that are still there."""
        if is_all(places, len(self)):
            return self
        codes = self.codes[places]
        there = np.unique(codes[codes > 0])
        if len(there) == len(self.choices):
            return Choices(codes, self.choices)
        numbers = np.zeros(len(self.choices) + 1, np.uint32)
        numbers[there] = np.arange(1, len(there) + 1)
        return Choices(numbers[codes], tuple(self._of(code) for code in numbers_in(there)))

    def without(self, item: Any) -> "Choices":
        """The same with None in place of an item."""
        codes = self._codes_of(item)
        return Choices(np.where(np.isin(self.codes, codes), 0, self.codes), self.choices) if codes else self

    def are(self, *items: Any) -> NDArray[np.bool_]:
        """Which are any of these items."""
        return np.isin(self.codes, [code for item in items for code in self._codes_of(item)])

    def _codes_of(self, item: Any) -> list[int]:
        return [0] if item is None else [code for code, each in enumerate(self.choices, 1) if each == item]


class Numbers(Compact["float | None"]):
    """Numbers, some of which are not known.

    Args:
        values: float64; NaN where one is not known.
    """

    __slots__ = ("_values",)

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def at(self, place: int) -> float | None:
        """The number at a place that there is."""
        value = float(self._values[place])
        return None if np.isnan(value) else value

    def select(self, places: Places) -> "Numbers":
        """The numbers at some places."""
        return self if is_all(places, len(self)) else Numbers(self._values[places])


class Boxes(Compact[tuple[int, int, int, int]]):
    """Four whole numbers each.

    Args:
        sides: int64 (boxes, 4).
    """

    __slots__ = ("_sides",)

    def __init__(self, sides: NDArray[np.int64]) -> None:
        self._sides = sides

    def __len__(self) -> int:
        return len(self._sides)

    def at(self, place: int) -> tuple[int, int, int, int]:
        """The box at a place that there is."""
        left, top, right, bottom = self._sides[place].tolist()
        return left, top, right, bottom

    def select(self, places: Places) -> "Boxes":
        """The boxes at some places."""
        return Boxes(self._sides[places])


class Gappy(Compact["T_co | None"]):
    """Items some of which are None.

    Args:
        items: all of them, with something in place of None.
        there: which are none of these.
    """

    __slots__ = ("_items", "_there")

    def __init__(self, items: Compact[T_co], there: NDArray[np.bool_]) -> None:
        self._items, self._there = items, there

    def __len__(self) -> int:
        return len(self._there)

    def at(self, place: int) -> T_co | None:
        """The item at a place that there is."""
        return self._items.at(place) if self._there[place] else None

    def select(self, places: Places) -> "Gappy[T_co]":
        """The items at some places."""
        return self if is_all(places, len(self)) else Gappy(self._items.select(places), self._there[places])


class Keyed(Mapping[int, T_co]):
    """Items by numbers, which rise.

    Args:
        numbers: of each item.
        items: as many.
    """

    __slots__ = ("_items", "_numbers")

    def __init__(self, numbers: Places, items: Compact[T_co]) -> None:
        self._numbers, self._items = numbers, items

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[int]:
        return numbers_in(self._numbers)

    def __getitem__(self, number: int) -> T_co:
        place = int(np.searchsorted(self._numbers, number))
        if place == len(self) or self._numbers[place] != number:
            raise KeyError(number)
        return self._items.at(place)


class _GrowingChoices:
    """Items of which many are the same, while they come."""

    def __init__(self) -> None:
        self._codes, self._choices, self._numbers = array("I"), list[Any](), dict[Any, int]()

    def skip(self, count: int) -> None:
        """So many times None."""
        self._codes.extend(repeat(0, count))

    def add(self, item: Any) -> None:
        """One more."""
        code = 0
        if item is not None:
            # 1, 1.0 and True are equal, and written differently
            key = item if type(item) is str else (type(item), repr(item))
            code = self._numbers.setdefault(key, len(self._choices) + 1)
            if code > len(self._choices):
                self._choices.append(item)
        self._codes.append(code)

    def finish(self) -> Choices:
        """All of them; none can be added after that."""
        return Choices(np.frombuffer(self._codes, np.uint32), tuple(self._choices))


class Growing:
    """Items of one column while they come: numbers as such where all are floats or None, few choices otherwise."""

    def __init__(self) -> None:
        self._blank = 0
        self._values: array[float] | None = None
        self._choices: _GrowingChoices | None = None

    def add(self, item: Any) -> None:
        """One more."""
        if self._choices is not None:
            self._choices.add(item)
        elif type(item) is float and not np.isnan(item):
            self._floats().append(item)
        elif item is not None:
            self._few().add(item)
        elif self._values is not None:
            self._values.append(np.nan)
        else:
            self._blank += 1

    def _floats(self) -> "array[float]":
        if self._values is None:
            self._values = array("d", repeat(np.nan, self._blank))
        return self._values

    def _few(self) -> _GrowingChoices:
        """From now on they are choices."""
        self._choices = _GrowingChoices()
        if self._values is None:
            self._choices.skip(self._blank)
        for value in Numbers(np.array(self._values or ())):
            self._choices.add(value)
        self._values = None
        return self._choices

    def finish(self) -> Choices | Numbers:
        """All of them; none can be added after that."""
        if self._choices is not None:
            return self._choices.finish()
        if self._values is not None:
            return Numbers(np.array(self._values))
        return Choices(np.zeros(self._blank, np.uint8), ())


class Finishing(Protocol[T_co]):
    """Something that grows."""

    def add(self, item: Any) -> None:
        """One more."""

    def finish(self) -> Compact[T_co]:
        """All of them."""


class GrowingGaps:
    """Items of which some are None while they come; where all are, nothing is kept of them.

    Args:
        items: grows with them, and with the `blank` in place of None.
    """

    def __init__(self, items: Finishing[Any], blank: Any) -> None:
        self._items, self._blank, self._there = items, blank, bytearray()
        self._any = False

    def add(self, item: Any) -> None:
        """One more."""
        if item is not None and not self._any:
            self._any = True
            for _ in self._there:
                self._items.add(self._blank)
        self._there.append(item is not None)
        if self._any:
            self._items.add(self._blank if item is None else item)

    def finish(self) -> Compact[Any]:
        """All of them; none can be added after that."""
        if not self._any:
            return Choices(np.zeros(len(self._there), np.uint8), ())
        return Gappy(self._items.finish(), np.frombuffer(self._there, np.bool_))


class GrowingBoxes:
    """Boxes while they come, one after the other."""

    def __init__(self) -> None:
        self._sides = array("q")

    def add(self, box: tuple[int, int, int, int]) -> None:
        """One more."""
        self._sides.extend(box)

    def finish(self) -> Boxes:
        """All of them; none can be added after that."""
        return Boxes(np.array(self._sides, dtype=np.int64).reshape(-1, _SIDES))


def places_of(items: Sequence[Any], item: object) -> Places:
    """Where an item is in a sequence."""
    if isinstance(items, Choices):
        return np.flatnonzero(items.are(item))
    return np.array([place for place, each in enumerate(items) if each == item], dtype=np.int64)
