"""Sequences of texts and of hashes that take little more memory than what they say, for sets of millions of images."""

from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

_HEX = 64


class Compact(Sequence[str]):
    """Texts that are made when they are asked for; it is equal to a tuple or a list of the same."""

    __slots__ = ()

    @abstractmethod
    def at(self, place: int) -> str:
        """The text at a place that there is."""

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        places = range(len(self))[place]
        return tuple(map(self.at, places)) if isinstance(places, range) else self.at(places)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (tuple, list, Compact)):
            return NotImplemented
        return len(self) == len(other) and all(own == its for own, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of any sequence that is compared by what is in it


class Texts(Compact):
    """Texts that lie one behind the other in one piece of memory.

    Args:
        content: all of them, encoded.
        ends: where each ends in it.
    """

    __slots__ = ("_content", "_ends")

    def __init__(self, content: bytes, ends: NDArray[np.int64]) -> None:
        self._content, self._ends = content, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """These texts; names of files that are no text among them."""
        content, ends = bytearray(), array("q")
        for text in texts:
            content += text.encode("utf-8", "surrogatepass")
            ends.append(len(content))
        return cls(bytes(content), np.array(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends.tolist():
            yield self._text(start, end)
            start = end

    def at(self, place: int) -> str:
        """The text at a place that there is."""
        return self._text(int(self._ends[place - 1]) if place else 0, int(self._ends[place]))

    def _text(self, start: int, end: int) -> str:
        return self._content[start:end].decode("utf-8", "surrogatepass")


class Digests(Compact):
    """SHA-256 hashes, held as bytes and given as hexadecimal digits.

    Args:
        content: uint8 (hashes, 32).
    """

    __slots__ = ("_content",)

    def __init__(self, content: NDArray[np.uint8]) -> None:
        self._content = content

    @classmethod
    def of(cls, digests: Iterable[str]) -> "Digests":
        """These hashes, of 64 hexadecimal digits each."""
        content = bytearray()
        for each in digests:
            content += bytes.fromhex(each)
        return cls(np.frombuffer(bytes(content), np.uint8).reshape(-1, _HEX // 2))

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _HEX):
            digits = self._content[start : start + _HEX].tobytes().hex()
            yield from (digits[at : at + _HEX] for at in range(0, len(digits), _HEX))

    def at(self, place: int) -> str:
        """The hash at a place that there is."""
        return self._content[place].tobytes().hex()
