"""The roles of held-out rows, fixed by hash before anybody looks.

A role belongs to a unit: the rows linked, directly or through others, by equal content or by an equal group. It depends
on the unit's own hash alone, so adding or dropping other rows, or another seed, never moves it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Role = Literal["train", "fit", "tune", "certify", "test"]

FEW = 3_000
"""Below this many rows no signal is fitted and there is no `fit` role."""

SHARES: Mapping[Role, float] = {"fit": 0.05, "tune": 0.15, "certify": 0.40, "test": 0.40}
SHARES_OF_FEW: Mapping[Role, float] = {"fit": 0.0, "tune": 0.20, "certify": 0.50, "test": 0.30}


def role_of(unit_hash: str, rows: int) -> Role:
    """The role of a unit in a set of so many rows.

    >>> role_of("ff" * 32, rows=10_000)
    'test'
    """
    place = int(unit_hash[:16], 16) / 2**64
    edge = 0.0
    shares = SHARES if rows >= FEW else SHARES_OF_FEW
    for role, share in shares.items():
        edge += share
        if place < edge:
            return role
    return "test"


def unit_hashes(contents: Sequence[str], groups: Sequence[str | None]) -> list[str]:
    """For each row the hash of its unit: the smallest one of its groups' names or, without groups, its content's."""
    units = _units(contents, groups)
    own = [
        _salted("group", group) if group is not None else _salted("content", content)
        for content, group in zip(contents, groups, strict=True)
    ]
    smallest: dict[tuple[int, bool], str] = {}
    for unit, group, value in zip(units, groups, own, strict=True):
        key = (unit, group is not None)
        smallest[key] = min(value, smallest.get(key, value))
    return [smallest.get((unit, True)) or smallest[unit, False] for unit in units]


def _units(contents: Sequence[str], groups: Sequence[str | None]) -> list[int]:
    """The number of each row's connected component, rows being linked through what they share."""
    names: dict[tuple[str, str], int] = {}
    links = [(row, _number(names, ("content", content))) for row, content in enumerate(contents)]
    links += [(row, _number(names, ("group", group))) for row, group in enumerate(groups) if group is not None]
    rows, shared = np.array(links, dtype=np.int64).reshape(-1, 2).T
    size = len(contents) + len(names)
    graph = coo_matrix((np.ones(len(links), dtype=np.int8), (rows, shared + len(contents))), shape=(size, size))
    components: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return [int(component) for component in components[: len(contents)]]


def _number(names: dict[tuple[str, str], int], name: tuple[str, str]) -> int:
    return names.setdefault(name, len(names))


def _salted(kind: str, text: str) -> str:
    return hashlib.sha256(f"role\x1f{kind}\x1f{text}".encode()).hexdigest()
