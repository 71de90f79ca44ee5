"""Sequences whose items are made when they are asked for: texts and hashes, and how these grow."""

from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
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

    def __init__(self, content: Content, ends: NDArray[np.uint32] | NDArray[np.int64]) -> None:
        self._content, self._ends = content, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """These texts; names of files that are no text among them."""
        if isinstance(texts, Texts):
            return texts
        growing = GrowingTexts()
        for text in texts:
            growing.add(text)
        return growing.finish()

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in numbers_in(self._ends):
            yield self._text(start, end)
            start = end

    def at(self, place: int) -> str:
        """The text at a place that there is."""
        return self._text(int(self._ends[place - 1]) if place else 0, int(self._ends[place]))

    def select(self, places: Places) -> "Texts":
        """The texts at some places."""
        return self if is_all(places, len(self)) else Texts.of(map(self.at, numbers_in(places)))

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

    @classmethod
    def of(cls, digests: Iterable[str]) -> "Digests":
        """These hashes, of 64 hexadecimal digits each."""
        if isinstance(digests, Digests):
            return digests
        growing = GrowingDigests()
        for digest in digests:
            growing.add(digest)
        return growing.finish()

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


class GrowingTexts:
    """Texts while they come, one after the other."""

    def __init__(self) -> None:
        self._content, self._ends = bytearray(), array("q")

    def add(self, text: str) -> None:
        """One more."""
        self._content += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._content))

    def finish(self) -> Texts:
        """All of them; none can be added after that."""
        ends = np.array(self._ends, dtype=np.int64)
        return Texts(self._content, ends.astype(np.uint32) if len(self._content) < _WIDE else ends)


class GrowingDigests:
    """Hashes while they come, one after the other."""

    def __init__(self) -> None:
        self._content = bytearray()

    def add(self, digest: str) -> None:
        """One more, of 64 hexadecimal digits."""
        self._content += bytes.fromhex(digest)

    def finish(self) -> Digests:
        """All of them; none can be added after that."""
        return Digests(np.frombuffer(self._content, np.uint8).reshape(-1, _HEX // 2))


def numbers_in(numbers: NDArray[Any]) -> Iterator[int]:
    """Whole numbers of Python, of which only some are in memory at a time."""
    for start in range(0, len(numbers), _PART):
        yield from numbers[start : start + _PART].tolist()


def is_all(places: Places, count: int) -> bool:
    """Whether some places are all that there are, in their order."""
    return len(places) == count and bool((places == np.arange(count)).all())
