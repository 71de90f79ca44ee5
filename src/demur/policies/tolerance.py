"""How far a score may move when the same image is asked again: alone, in another batch, on another machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import InputError
from demur.policies.policy import Floats

FLOAT32_STEP = 2.0**-23
BINS = 8
FACTOR = 2.0
"""What was seen on some rows is doubled for the others."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The width within which a score is the same: the one of its piece of the scale, plus a share of its size.

    Attributes:
        edges: ascending scores at which one piece ends and the next begins; empty for a single piece.
        widths: one per piece, hence one more than edges.
        relative: share of the score's own size that is added.
    """

    edges: tuple[float, ...] = ()
    widths: tuple[float, ...] = (0.0,)
    relative: float = 0.0

    def __post_init__(self) -> None:
        edges, widths = np.asarray(self.edges, np.float64), np.asarray([*self.widths, self.relative], np.float64)
        if len(self.widths) != len(self.edges) + 1 or not (np.diff(edges) > 0).all() or not np.isfinite(edges).all():
            raise InputError(
                "a score tolerance has finite ascending `edges` and one more `widths` than these; got "
                f"{list(self.edges)} and {list(self.widths)}."
            )
        if not (np.isfinite(widths).all() and (widths >= 0).all()):
            raise InputError(
                "widths and the relative part of a score tolerance are finite and not negative; got "
                f"{list(self.widths)} and {self.relative}."
            )

    @classmethod
    def measured(cls, scores: ArrayLike, moves: ArrayLike, factor: float = FACTOR) -> "Tolerance":
        """From scores (rows,) and how far each moved, (rows,): `factor` times the largest move nearby.

        Rows are put in order of their score and cut into eight pieces with equally many rows; a piece takes the largest
        move of its own and its neighbours' rows. It follows the score, so that a monotone change of all scores changes
        the tolerance with them. Rows without a finite score or move say nothing.
        """
        score, move = np.asarray(scores, np.float64), np.abs(np.asarray(moves, np.float64))
        useful = np.isfinite(score) & np.isfinite(move)
        order = np.argsort(score[useful], kind="stable")
        score, move = score[useful][order], move[useful][order]
        if not len(score):
            return cls(relative=FLOAT32_STEP)
        first = np.unique(np.searchsorted(score, score[np.arange(BINS) * len(score) // BINS]))
        largest = np.maximum.reduceat(move, first)
        beside = np.pad(largest, 1, mode="edge")
        widths = factor * np.maximum(largest, np.maximum(beside[:-2], beside[2:]))
        return cls(edges=tuple(score[first[1:]].tolist()), widths=tuple(widths.tolist()))

    @classmethod
    def load(cls, values: object) -> "Tolerance":
        """From plain JSON values.

        Raises:
            InputError: they are not the fields of a tolerance.
        """
        if not isinstance(values, Mapping) or set(values) != {"edges", "widths", "relative"}:
            raise InputError(
                f"a stored score tolerance must have exactly edges, relative, widths; got {values!r:.200}."
            )
        parts = values["edges"], values["widths"], [values["relative"]]
        if not all(isinstance(part, Sequence) and all(_is_number(value) for value in part) for part in parts):
            raise InputError(f"a stored score tolerance must hold numbers; got {values!r:.200}.")
        return cls(edges=tuple(parts[0]), widths=tuple(parts[1]), relative=values["relative"])

    def of(self, scores: ArrayLike) -> Floats:
        """The width around each score (rows,), in the score's unit."""
        score, (edges, widths) = np.asarray(scores, np.float64), self._scale
        found = widths[np.searchsorted(edges, score, side="right")]
        return found + self.relative * np.where(np.isfinite(score), np.abs(score), 0.0) if self.relative else found

    @cached_property
    def _scale(self) -> tuple[Floats, Floats]:
        return np.asarray(self.edges, np.float64), np.asarray(self.widths, np.float64)


EXACT = Tolerance()
"""Scores that are the same whenever they are asked for."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
