"""Which rows a training learns from, and which it may be judged on meanwhile."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demur.data import Index
from demur.data.roles import settled, unit_hashes
from demur.errors import DataError

SHARE = 0.60

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of an index.

    Attributes:
        learned: to learn from; all of them readable.
        tuned: set aside, readable, and free to be looked at; the rest is left for `certify` and `test`.
        own: whether the data came with this split.
    """

    learned: Rows
    tuned: Rows
    own: bool


def split(index: Index) -> Split:
    """The data's own split where it has one; else 60 % of the units, drawn by a hash of the unit's hash.

    The draw says nothing about the role a unit has in a later audit: an audit without the learned rows deals the others
    out as if they were all there is, and the rows tuned on here are among its `tune` rows.

    Raises:
        DataError: the data's own split calls every row held out.
    """
    own = "train" in index.splits
    units = unit_hashes(index.contents, index.groups)
    readable = np.array([error is None for error in index.errors])
    learned = readable & (np.array([name == "train" for name in index.splits]) if own else _drawn(index, units))
    if not learned.any():
        raise DataError(
            "there are no images to learn from: the data's own split calls all of them held out. Name the images to "
            "learn from 'train', or leave the split out and 60 % are set aside for training."
        )
    seen = {index.contents[row] for row in np.flatnonzero(learned)}
    others = np.array([content not in seen for content in index.contents])
    held_out = others & np.array([name != "train" for name in index.splits])
    roles = settled(index.splits, units, int(held_out.sum()))
    tuned = held_out & readable & np.array([role == "tune" for role in roles])
    return Split(np.flatnonzero(learned), np.flatnonzero(tuned), own)


def learns(unit_hash: str) -> bool:
    """Whether a unit is among the 60 % to learn from.

    >>> learns("ff" * 32)
    False
    """
    place = int(hashlib.sha256(f"train\x1f{unit_hash}".encode()).hexdigest()[:16], 16) / 2**64
    return place < SHARE


def _drawn(index: Index, units: list[str]) -> NDArray[np.bool_]:
    """60 % of the units that no split of the user's holds out.

    Where it calls all rows the same, it tells none from the others: who asks to learn from such a set means its rows.
    """
    alike = len(set(index.splits)) == 1
    held_out = {unit for unit, name in zip(units, index.splits, strict=True) if name is not None and not alike}
    return np.array([unit not in held_out and learns(unit) for unit in units])
