"""The labelled rows a promise is made from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import InputError
from demur.metrics.estimate import Unit
from demur.policies.policy import Flags, Floats


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of one signal (higher = more doubt) with what was wrong; `groups` names each row's unit of independence.

    `ids` (sample ids) decide which row stands for its group; without them it is the first one.
    """

    scores: Floats
    wrong: Flags
    groups: NDArray[Any] | None = None
    ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name, rows in (("wrong", self.wrong), ("groups", self.groups), ("ids", self.ids)):
            if rows is not None and len(rows) != len(self.scores):
                raise InputError(f"`{name}` must have one entry per score; got {len(rows)} for {len(self.scores)}.")
        undefined = int(np.isnan(self.scores).sum())
        if undefined:
            raise InputError(
                f"a promise needs a score on every row; got NaN on {undefined} of {len(self.scores)}. "
                "Choose a signal that is defined everywhere, or leave these rows out and say so."
            )

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def unit(self) -> Unit:
        """What counts as one independent observation."""
        return "image" if self.groups is None else "group"

    def one_per_group(self) -> "Calibration":
        """One row of each group, so that rows are independent: the one whose id has the smallest hash.

        The choice sees neither labels nor scores. Itself where there are no groups.
        """
        if self.groups is None:
            return self
        order = np.arange(len(self)) if self.ids is None else np.argsort([_hash(name) for name in self.ids])
        keep = order[np.unique(np.asarray(self.groups)[order], return_index=True)[1]]
        ids = None if self.ids is None else [self.ids[row] for row in keep]
        return Calibration(self.scores[keep], self.wrong[keep], self.groups[keep], ids)

    def counts(self, threshold: float) -> tuple[int, int]:
        """How many rows a threshold answers, and how many of these are wrong."""
        answered = self.scores <= threshold
        return int(answered.sum()), int((answered & self.wrong).sum())


def _hash(name: str) -> bytes:
    return hashlib.blake2b(str(name).encode(), digest_size=8).digest()
