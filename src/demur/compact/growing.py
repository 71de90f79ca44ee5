"""Compact sequences while they grow by one item after the other, and those of items that there are."""

from array import array
from collections.abc import Iterable
from itertools import repeat
from typing import Any, Protocol, TypeVar

import numpy as np

from demur.compact.sequences import Boxes, Choices, Compact, Digests, Gappy, Numbers, Texts

T_co = TypeVar("T_co", covariant=True)

_HEX, _SIDES = 64, 4

_MANY = 4096
"""Choices from which on their texts lie in one piece of memory."""


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
        return Texts(self._content, np.array(self._ends, dtype=np.int64))


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
        found = self._choices
        texts = len(found) > _MANY and all(type(each) is str for each in found)
        return Choices(np.frombuffer(self._codes, np.uint32), texts_of(found) if texts else tuple(found))


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


def texts_of(texts: Iterable[str]) -> Texts:
    """These texts; names of files that are no text among them."""
    return texts if isinstance(texts, Texts) else _all(GrowingTexts(), texts)


def digests_of(digests: Iterable[str]) -> Digests:
    """These hashes, of 64 hexadecimal digits each."""
    return digests if isinstance(digests, Digests) else _all(GrowingDigests(), digests)


def choices_of(items: Iterable[Any]) -> Choices:
    """These items, which are the same where their kind and what they look like is."""
    return items if isinstance(items, Choices) else _all(_GrowingChoices(), items)


def _all(growing: Finishing[Any], items: Iterable[Any]) -> Any:
    for item in items:
        growing.add(item)
    return growing.finish()
