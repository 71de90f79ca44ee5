"""Sequences whose items are made when they are asked for: texts, hashes, one of few choices, numbers, boxes."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

T_co = TypeVar("T_co", covariant=True)
Places: TypeAlias = NDArray[np.int64]
Content: TypeAlias = bytes | bytearray
"""The bytes of texts, which nobody writes to any more."""

_HEX = 64
_WIDE = 1 << 32
"""Bytes of text whose places need more than 32 bits."""

_PART = 4096
"""Items that are made together where all are asked for."""


class Compact(Sequence[T_co]):
    """A sequence that is equal to a tuple or a list of the same items."""

    __slots__ = ()

    @abstractmethod
    def at(self, place: int) -> T_co:
        """The item at a place that there is."""

    @abstractmethod
    def select(self, places: Places) -> "Compact[T_co]":
        """The items at some places, in their order."""

    @overload
    def __getitem__(self, place: int) -> T_co: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T_co, ...]: ...
    def __getitem__(self, place: int | slice) -> T_co | tuple[T_co, ...]:
        places = range(len(self))[place]
        return tuple(map(self.at, places)) if isinstance(places, range) else self.at(places)

    def __iter__(self) -> Iterator[T_co]:
        return map(self.at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (tuple, list, Compact)):
            return NotImplemented
        return len(self) == len(other) and all(own == its for own, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of any sequence that is compared by what is in it


class Texts(Compact[str]):
    """Texts that lie one behind the other in one piece of memory.

    Args:
        content: all of them, encoded.
        ends: where each ends in it.
    """

    __slots__ = ("_content", "_ends")

    def __init__(self, content: Content, ends: NDArray[np.int64]) -> None:
        self._content = content
        self._ends: NDArray[Any] = ends.astype(np.uint32) if len(content) < _WIDE else ends

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in numbers_in(self._ends):
            yield self._text(start, end)
            start = end

    def at(self, place: int) -> str:
        """The text at a place that there is."""
        return self._text(*self._span(place))

    def _span(self, place: int) -> tuple[int, int]:
        return int(self._ends[place - 1]) if place else 0, int(self._ends[place])

    def select(self, places: Places) -> "Texts":
        """The texts at some places."""
        if is_all(places, len(self)):
            return self
        content, ends = bytearray(), np.empty(len(places), np.int64)
        for at, place in enumerate(numbers_in(places)):
            content += self._content[slice(*self._span(place))]
            ends[at] = len(content)
        return Texts(content, ends)

    def any_twice(self) -> bool:
        """Whether one of them is there twice; only those that share a hash are compared."""
        hashes = np.fromiter(map(hash, self), dtype=np.int64, count=len(self))
        order = np.argsort(hashes, kind="stable")
        same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
        alike = np.unique(np.concatenate([order[same], order[same + 1]]))
        return len({self.at(place) for place in numbers_in(alike)}) < len(alike)

    def _text(self, start: int, end: int) -> str:
        return self._content[start:end].decode("utf-8", "surrogatepass")


class Digests(Compact[str]):
    """SHA-256 hashes, held as bytes and given as hexadecimal digits.

    Attributes:
        content: uint8 (hashes, 32).
    """

    __slots__ = ("content",)

    def __init__(self, content: NDArray[np.uint8]) -> None:
        self.content = content

    def __len__(self) -> int:
        return len(self.content)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _HEX):
            digits = self.content[start : start + _HEX].tobytes().hex()
            yield from (digits[at : at + _HEX] for at in range(0, len(digits), _HEX))

    def at(self, place: int) -> str:
        """The hash at a place that there is."""
        return self.content[place].tobytes().hex()

    def select(self, places: Places) -> "Digests":
        """The hashes at some places."""
        return self if is_all(places, len(self)) else Digests(self.content[places])

    @property
    def prefixes(self) -> NDArray[np.uint64]:
        """The first 64 bits of each, as a number."""
        return self._numbers(0)

    def _numbers(self, part: int) -> NDArray[np.uint64]:
        """One of the four parts of each, as a number."""
        bits: NDArray[Any] = np.ascontiguousarray(self.content[:, 8 * part : 8 * part + 8]).view(">u8")[:, 0]
        return bits.astype(np.uint64)

    @property
    def order(self) -> Places:
        """Where the smallest is, the next, and so on; of equal ones the first comes first."""
        prefixes = self.prefixes
        order = np.argsort(prefixes, kind="stable")
        ties = np.flatnonzero(prefixes[order[1:]] == prefixes[order[:-1]])
        if (self.content[order[ties]] != self.content[order[ties + 1]]).any():
            return np.lexsort([self._numbers(part) for part in (3, 2, 1, 0)])
        return order

    @property
    def ranks(self) -> Places:
        """How many smaller ones there are, each counted once: equal ones have the same rank, and no others."""
        order, ranks = self.order, np.zeros(len(self), np.int64)
        prefixes = self.prefixes[order]
        ties = np.flatnonzero(prefixes[1:] == prefixes[:-1])
        differ = np.ones(max(0, len(order) - 1), np.bool_)
        differ[ties] = (self.content[order[ties]] != self.content[order[ties + 1]]).any(axis=1)
        ranks[order[1:]] = np.cumsum(differ)
        return ranks


class Choices(Compact[Any]):
    """Items of which many are the same.

    Attributes:
        codes: whole numbers (items,); 0 stands for None, k for the k-th choice.
        choices: what there is.
    """

    __slots__ = ("choices", "codes")

    def __init__(self, codes: NDArray[Any], choices: Sequence[Any]) -> None:
        self.codes: NDArray[Any] = codes.astype(np.min_scalar_type(len(choices)), copy=False)
        self.choices = choices

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
        if isinstance(self.choices, Texts):
            return Choices(numbers[codes], self.choices.select(there.astype(np.int64) - 1))
        return Choices(numbers[codes], tuple(map(self._of, there.tolist())))

    def are(self, *items: Any) -> NDArray[np.bool_]:
        """Which are any of these items."""
        return np.isin(self.codes, [code for item in items for code in self._codes_of(item)])

    def _codes_of(self, item: Any) -> list[int]:
        if item is None:
            return [0]
        return [code for code, each in enumerate(self.choices, 1) if isinstance(each, type(item)) and each == item]


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

    def __iter__(self) -> Iterator[float | None]:
        for start in range(0, len(self), _PART):
            yield from (None if value != value else value for value in self._values[start : start + _PART].tolist())

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

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        for start in range(0, len(self), _PART):
            yield from map(tuple, self._sides[start : start + _PART].tolist())

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

    def __iter__(self) -> Iterator[T_co | None]:
        return (item if there else None for item, there in zip(self._items, self._there.tolist(), strict=True))

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


def numbers_in(numbers: NDArray[Any]) -> Iterator[int]:
    """Whole numbers of Python, of which only some are in memory at a time."""
    for start in range(0, len(numbers), _PART):
        yield from numbers[start : start + _PART].tolist()


def is_all(places: Places, count: int) -> bool:
    """Whether some places are all that there are, in their order."""
    return len(places) == count and bool((places == np.arange(count)).all())


def items_at(items: Sequence[Any], places: Places) -> list[Any]:
    """The items at some places of a sequence, in a list."""
    return [*items.select(places)] if isinstance(items, Compact) else [items[place] for place in places]


def places_of(items: Sequence[Any], item: object) -> Places:
    """Where an item is in a sequence."""
    if isinstance(items, Choices):
        return np.flatnonzero(items.are(item))
    return np.array([place for place, each in enumerate(items) if each == item], dtype=np.int64)
