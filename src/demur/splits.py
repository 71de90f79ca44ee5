"""The splits of held-out rows, fixed by hash before anybody looks.

A split belongs to a unit: the rows linked, directly or through others, by equal content or by an equal group. It
depends on the unit's own hash, so another seed, a limit or other rows never move it, but for the times that a set
grows past 600 and 3,000 rows and gets other shares. A user's own split wins.
"""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.compact import Choices, Digests, choices_of, digests_of, numbers_in
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


def assign_splits(own: Sequence[OwnSplit | None], units: Sequence[str], rows: int) -> Choices:
    """The split of each row of a set of so many held-out rows, from the user's split and the hash of its unit.

    A split that names one held-out part only, `test` or `val`, says which rows are held out and not what they serve:
    they are shared out by hash.
    """
    said, prefixes = choices_of(own), digests_of(units).prefixes
    names: list[Split] = ["train", *SHARES]
    codes = np.zeros(len(said), np.uint8)
    there = {name for name in (None, *SPLIT_NAMES.values()) if said.are(name).any()}
    alone = there - {"train"} in ({"test"}, {"val"})
    for name in there:
        at = said.are(name)
        if name is None or (alone and name != "train"):
            codes[at] = _places_among(prefixes[at], rows, names, ("fit", "tune", "certify", "test"))
        elif name == "val":
            codes[at] = _places_among(prefixes[at], rows, names, ("tune", "certify"))
        else:
            codes[at] = names.index(name)
    return Choices(codes + 1, names)


def _places_among(
    prefixes: NDArray[np.uint64], rows: int, names: Sequence[Split], among: Sequence[Split]
) -> NDArray[np.intp]:
    """For each unit hash, of which the first 64 bits are given, where its split stands among all; as `split_of`."""
    shares = {split: share for split, share in shares_of(rows).items() if split in among}
    edges = np.array([*accumulate(shares.values())])
    numbers = np.array([names.index(split) for split in (*shares, among[-1])])
    return numbers[np.searchsorted(edges, prefixes / 2.0**64 * sum(shares.values()), side="right")]


def unit_hashes(contents: Sequence[str], groups: Sequence[str | None]) -> Digests:
    """For each row the hash of its unit: the smallest one of its groups' names or, without groups, its content's."""
    hashes, named = digests_of(contents), choices_of(groups)
    units = _units(hashes.ranks, named.codes)
    smallest = np.zeros((int(units.max(initial=-1)) + 1, 32), np.uint8)
    has = np.zeros(len(smallest), np.bool_)

    def take(row: int, kind: str, text: str) -> None:
        unit, found = units[row], hashlib.sha256(f"role\x1f{kind}\x1f{text}".encode()).digest()
        if not has[unit] or found < smallest[unit].tobytes():
            smallest[unit], has[unit] = np.frombuffer(found, np.uint8), True

    for row in numbers_in(np.unique(named.codes, return_index=True)[1]):  # the rows of a group are one unit
        if named.codes[row]:
            take(row, "group", named.at(row))
    for row in numbers_in(np.flatnonzero(~has[units])):
        take(row, "content", hashes.at(row))
    return Digests(smallest[units])


def _units(contents: NDArray[np.int64], groups: NDArray[Any]) -> NDArray[np.int64]:
    """The number of each row's connected component, rows being linked through what they share.

    Args:
        contents: a number for each content.
        groups: a number for each group, 0 where a row is in none.
    """
    grouped = np.flatnonzero(groups)
    if not len(grouped):
        return contents
    from scipy.sparse import coo_matrix  # a guard never needs it, and takes long to import it
    from scipy.sparse.csgraph import connected_components

    size = int(contents.max()) + 1
    ends = contents[grouped], groups[grouped].astype(np.int64) - 1 + size
    nodes = size + int(groups.max())
    graph = coo_matrix((np.ones(len(grouped), dtype=np.int8), ends), shape=(nodes, nodes))
    components: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return components[contents].astype(np.int64)
