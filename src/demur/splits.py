"""The splits of held-out rows, fixed by hash before anybody looks.

A split belongs to a unit: the rows linked, directly or through others, by equal content or by an equal group. It
depends on the unit's own hash, so another seed, a limit or other rows never move it, but for the times that a set
grows past 600 and 3,000 rows and gets other shares. A user's own split wins.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.errors import DataError

Split: TypeAlias = Literal["train", "fit", "tune", "certify", "test"]

OwnSplit: TypeAlias = Literal["train", "fit", "tune", "certify", "test", "val"]
"""What a user's own split can say; `val` serves to tune and to certify."""

SPLIT_NAMES: Mapping[str, OwnSplit] = {
    "train": "train",
    "training": "train",
    "fit": "fit",
    "tune": "tune",
    "certify": "certify",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "calibration": "val",
    "test": "test",
    "testing": "test",
}
"""The names of splits that are understood, in small letters."""

FEW = 3_000
"""Below this many rows no signal is fitted and there is no `fit` split."""

FEWEST = 600
"""Below this many rows `msp` is fixed in advance and there is no `test` split: all labels are needed to guarantee."""

SHARES: Mapping[Split, float] = {"fit": 0.05, "tune": 0.15, "certify": 0.40, "test": 0.40}
SHARES_OF_FEW: Mapping[Split, float] = {"fit": 0.0, "tune": 0.20, "certify": 0.50, "test": 0.30}
SHARES_OF_FEWEST: Mapping[Split, float] = {"fit": 0.0, "tune": 0.20, "certify": 0.80, "test": 0.0}


def shares_of(rows: int) -> Mapping[Split, float]:
    """The shares of the splits in a set of so many held-out rows."""
    return SHARES if rows >= FEW else SHARES_OF_FEW if rows >= FEWEST else SHARES_OF_FEWEST


def split_of(unit_hash: str, rows: int, among: Sequence[Split] = ("fit", "tune", "certify", "test")) -> Split:
    """The split of a unit in a set of so many rows; with `among`, one of these, in the usual proportion.

    >>> split_of("ff" * 32, rows=10_000)
    'test'
    """
    shares = {split: share for split, share in shares_of(rows).items() if split in among}
    place = int(unit_hash[:16], 16) / 2**64 * sum(shares.values())
    edge = 0.0
    for split, share in shares.items():
        edge += share
        if place < edge:
            return split
    return among[-1]


def own_split(name: str | None, where: str) -> OwnSplit | None:
    """What the name of a split means; no name means that demur shares the row out.

    >>> own_split("Validation", "row 3")
    'val'
    """
    text = (name or "").strip().lower()
    if not text:
        return None
    if text not in SPLIT_NAMES:
        raise DataError(
            f"{where}: the split {name!r} is not understood. Write one of {', '.join(SPLIT_NAMES)}, or nothing."
        )
    return SPLIT_NAMES[text]


def assign_splits(own: Sequence[OwnSplit | None], units: Sequence[str], rows: int) -> list[Split]:
    """The split of each row of a set of so many held-out rows, from the user's split and the hash of its unit.

    A split that names one held-out part only, `test` or `val`, says which rows are held out and not what they serve:
    they are shared out by hash.
    """
    alone = set(own) - {"train"} in ({"test"}, {"val"})
    return [
        _split(None if alone and name != "train" else name, unit, rows) for name, unit in zip(own, units, strict=True)
    ]


def _split(own: OwnSplit | None, unit: str, rows: int) -> Split:
    if own is None:
        return split_of(unit, rows)
    return split_of(unit, rows, among=("tune", "certify")) if own == "val" else own


def unit_hashes(contents: Sequence[str], groups: Sequence[str | None]) -> list[str]:
    """For each row the hash of its unit: the smallest one of its groups' names or, without groups, its content's."""
    units = _units(contents, groups)
    named, plain = ([""] * (max(units, default=-1) + 1) for _ in range(2))
    for unit, content, group in zip(units, contents, groups, strict=True):
        smallest = plain if group is None else named
        value = _salted("content", content) if group is None else _salted("group", group)
        smallest[unit] = min(value, smallest[unit] or value)
    return [named[unit] or plain[unit] for unit in units]


def _units(contents: Sequence[str], groups: Sequence[str | None]) -> list[int]:
    """The number of each row's connected component, rows being linked through what they share."""
    from scipy.sparse import coo_matrix  # a guard never needs it, and takes long to import it
    from scipy.sparse.csgraph import connected_components

    rows = len(contents)
    grouped = np.array([row for row, group in enumerate(groups) if group is not None], dtype=np.int64)
    own = _numbers(contents)
    shared = _numbers([group for group in groups if group is not None]) + rows
    ends = np.concatenate([np.arange(rows), grouped]), np.concatenate([own, shared]) + rows
    graph = coo_matrix((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(3 * rows, 3 * rows))
    components: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    found: list[int] = np.unique(components[:rows], return_inverse=True)[1].tolist()
    return found


def _numbers(texts: Sequence[str]) -> NDArray[np.int64]:
    """A number for each text, the same for the same one, less than how many there are."""
    numbers: dict[str, int] = {}
    return np.fromiter((numbers.setdefault(text, len(numbers)) for text in texts), dtype=np.int64, count=len(texts))


def _salted(kind: str, text: str) -> str:
    return hashlib.sha256(f"role\x1f{kind}\x1f{text}".encode()).hexdigest()
