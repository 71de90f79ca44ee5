"""A reference cut into folds, so that a signal can be scored on images it was not fitted on."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from demur.evidence import Evidence
from demur.shapes import Flags, Labels


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a reference, in its order."""

    reference: Iterable[Evidence]
    chosen: Flags

    def __iter__(self) -> Iterator[Evidence]:
        start = 0
        for seen in self.reference:
            index = self.chosen[start : start + len(seen)].nonzero()[:, 0]
            start += len(seen)
            if len(index):
                yield seen.rows(index)


def units_of(reference: Iterable[Evidence]) -> tuple[NDArray[np.str_], bool]:
    """The unit of independence of each row, its number where it has none, and whether any has."""
    groups = [group for seen in reference for group in (seen.groups if seen.groups is not None else [None] * len(seen))]
    known = any(group is not None for group in groups)
    return np.array([f"row {row}" if group is None else group for row, group in enumerate(groups)]), known


def folds_of(units: NDArray[np.str_], count: int) -> Labels:
    """The fold of each row, from a hash of its unit: rows that belong together fall into one."""
    hashes = (hashlib.sha256(f"fold\x1f{unit}".encode()).digest() for unit in units)
    return torch.tensor([int.from_bytes(digest[:8]) % count for digest in hashes], dtype=torch.int64)
