"""Decoded images that stay in memory as bytes, so that each is decoded once and not once under every condition.

A picture of 8 bits a channel is bytes divided by 255. It is kept where bytes give it back to the last bit, in the order
in which images are read, until the budget is spent; what is not kept is read again. No result depends on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from demur.data.source import Row, Source
from demur.registry.regular_files import MIB
from demur.shapes import Images

BUDGET = 512 * MIB
"""Bytes that are kept unless something else is said."""

_WHITE = 255
_TRIED = 64
"""Images that may be tried in vain before it is taken that none of the set is made of bytes."""


class KeptImages:
    """As many images of one source as a budget of bytes allows.

    Args:
        budget: how many bytes; 0 keeps nothing.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self._store = torch.empty(0, dtype=torch.uint8)
        self._slots: dict[int, int] = {}
        self._vain = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptImages, (self.budget,)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, position: int) -> bool:
        return position in self._slots

    def keep(self, position: int, image: Tensor) -> None:
        """Keep the image at a position of the source, if bytes give it back and there is room."""
        if self._vain >= _TRIED or position in self._slots or not self._room(image):
            return
        as_bytes = (image * _WHITE).round().clamp(0, _WHITE).to(torch.uint8)
        if not torch.equal(as_bytes.float() / _WHITE, image):
            self._vain += not self._slots
            return
        self._store[len(self._slots)] = as_bytes
        self._slots[position] = len(self._slots)

    def _room(self, image: Tensor) -> bool:
        if not len(self._store):  # pages nobody writes to take no memory
            self._store = torch.empty(self.budget // max(1, image.numel()), *image.shape, dtype=torch.uint8)
        return len(self._slots) < len(self._store) and image.shape == self._store.shape[1:]

    def fill(self, images: Images, positions: Sequence[int]) -> list[int]:
        """Write the images at these positions into a tensor, and tell for which of its rows none was kept."""
        found = [(row, self._slots[position]) for row, position in enumerate(positions) if position in self._slots]
        if found:
            rows, slots = (torch.tensor(each) for each in zip(*found, strict=True))
            images[rows] = self._store[slots].float() / _WHITE
        return [row for row, position in enumerate(positions) if position not in self._slots]


@dataclass(frozen=True, eq=False)
class KeepingSource:
    """A source whose images are kept as they are read."""

    source: Source
    kept: KeptImages

    @property
    def address(self) -> str:
        """That of the source."""
        return self.source.address

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the source."""
        return self.source.classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """That of the source."""
        return self.source.input_shape

    def __len__(self) -> int:
        return len(self.source)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions."""
        for position, row in zip(positions, self.source.read(positions), strict=True):
            if row.image is not None and tuple(row.image.shape) == tuple(self.input_shape):
                self.kept.keep(position, row.image)
            yield row
