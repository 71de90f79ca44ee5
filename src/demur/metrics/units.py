"""Names of groups as numbers, quickly: sorting a million names takes seconds, sorting the distinct ones does not."""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.errors import InputError
from demur.metrics.estimate import Unit


def unit_codes(groups: ArrayLike) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The distinct names in order, and the place of each row's (rows,) among them: as `np.unique` with its inverse."""
    names = np.asarray(groups)
    if names.dtype != object:
        return np.unique(names, return_inverse=True)
    rows = names.tolist()
    distinct = sorted(set(rows))
    place = {name: at for at, name in enumerate(distinct)}
    return np.array(distinct, object), np.fromiter(map(place.__getitem__, rows), np.intp, len(rows))


def id_hashes(ids: Iterable[str]) -> NDArray[np.uint64]:
    """A number for each id that tells nothing of its row, always the same (rows,): the smallest stands for a group."""
    digests = b"".join([hashlib.blake2b(str(each).encode(), digest_size=8).digest() for each in ids])
    return np.frombuffer(digests, ">u8").astype(np.uint64)


class Units:
    """What draws or leaves out whole units: images, or groups where `groups` names one per row."""

    n: int
    groups: NDArray[Any] | None

    def __post_init__(self) -> None:
        if self.groups is not None and len(self.groups) != self.n:
            raise InputError(f"`groups` must name one group per row; got {len(self.groups)} for {self.n} rows.")

    @property
    def unit(self) -> Unit:
        """What is independent of the others."""
        return "image" if self.groups is None else "group"

    @cached_property
    def units(self) -> int:
        """How many there are."""
        return self.n if self.groups is None else int(self.codes.max(initial=-1)) + 1

    @cached_property
    def codes(self) -> NDArray[np.intp]:
        """The unit of each row (rows,), by number."""
        return np.arange(self.n) if self.groups is None else unit_codes(self.groups)[1]
