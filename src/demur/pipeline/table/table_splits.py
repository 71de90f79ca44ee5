"""Which rows of a table place thresholds, certify and confirm: by its own column, else by hash, before labels count."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from demur.pipeline.table.answers import Answers
from demur.policies.policy import Floats
from demur.splits import OwnSplit, Split, shares_of

USED: tuple[Split, ...] = ("tune", "certify", "test")
"""What rows of a table can serve: nothing is fitted on them, and those called train or fit are left out."""


def table_splits(answers: Answers) -> NDArray[np.str_]:
    """The split of each row (rows,), empty where it serves nothing.

    By the table's own column; a row that it leaves open, and every row where the only split it names is `test` or
    `val`, is placed by the hash of its group, else of its `sample_id`, else by its number.
    """
    own = answers.split or [None] * len(answers)
    named = set(own) - {"train", None}
    alone = None not in own and named in ({"test"}, {"val"})
    place = answers.places
    found = _shared(place, len(answers), USED)
    if answers.split is None or named == set():
        return _without_train(found, own)
    between = _shared(place, len(answers), ("tune", "certify"))
    codes = np.array([_code(each, alone=alone) for each in own])
    by_name = np.where(np.isin(codes, USED), codes, "")
    return np.select([codes == "hash", codes == "val"], [found, between], default=by_name)


def _code(own: OwnSplit | None, *, alone: bool) -> str:
    return "hash" if own is None or (alone and own != "train") else own


def _without_train(found: NDArray[np.str_], own: Sequence[OwnSplit | None]) -> NDArray[np.str_]:
    return np.where(np.array([each == "train" for each in own]), "", found)


def _shared(place: Floats, rows: int, among: Sequence[Split]) -> NDArray[np.str_]:
    """The splits at places in [0, 1) of a set of so many rows, in the usual proportion."""
    shares: Mapping[Split, float] = shares_of(rows)
    edges = np.cumsum([shares[split] for split in among])
    return np.array(among)[np.minimum(np.searchsorted(edges, place * edges[-1], side="right"), len(among) - 1)]
