"""Decoded images that stay in memory as bytes, so that each is decoded once and not once under every condition.

A picture of 8 bits a channel is bytes divided by 255. It is kept where bytes give it back to the last bit, in the order
in which images are read, until the budget is spent; what is not kept is read again. No result depends on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demur.data.source import Row, Source
from demur.registry.regular_files import MIB
from demur.shapes import Images

BUDGET = 512 * MIB
"""Bytes that are kept unless something else is said."""

_WHITE = 255
_NONE = -1
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
        self._slots = np.full(0, _NONE, np.int32)
        self._count = self._vain = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptImages, (self.budget,)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, position: int) -> bool:
        return position < len(self._slots) and bool(self._slots[position] != _NONE)

    def keep(self, position: int, image: Tensor) -> None:
        """Keep the image at a position of the source, if bytes give it back and there is room."""
        if self._vain >= _TRIED or position in self or not self._room(image):
            return
        as_bytes = (image * _WHITE).round().clamp(0, _WHITE).to(torch.uint8)
        if not torch.equal(as_bytes.float() / _WHITE, image):
            self._vain += not self._count
            return
        if position >= len(self._slots):
            more = max(position + 1, 2 * len(self._slots)) - len(self._slots)
            self._slots = np.pad(self._slots, (0, more), constant_values=_NONE)
        self._store[self._count] = as_bytes
        self._slots[position] = self._count
        self._count += 1

    def _room(self, image: Tensor) -> bool:
        if not len(self._store):  # pages nobody writes to take no memory
            self._store = torch.empty(self.budget // max(1, image.numel()), *image.shape, dtype=torch.uint8)
        return self._count < len(self._store) and image.shape == self._store.shape[1:]

    def fill(self, images: Images, positions: Sequence[int]) -> list[int]:
        """Write the images at these positions into a tensor, and tell for which of its rows none was kept."""
        places = np.asarray(positions, dtype=np.int64)
        slots, inside = np.full(len(places), _NONE, np.int64), places < len(self._slots)
        slots[inside] = self._slots[places[inside]]
        rows = np.flatnonzero(slots != _NONE)
        if len(rows):
            images[torch.from_numpy(rows)] = self._store[torch.from_numpy(slots[rows])].float() / _WHITE
        found: list[int] = np.flatnonzero(slots == _NONE).tolist()
        return found


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
