"""The shape of what attackers of a guard found."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from demur.analysis.json_shape import Count, Least, Name, Shape

MOST_SIZES = 32
"""Sizes at which a guard may be attacked, a file each."""

ATTACKERS = ("minimal", "confident", "joint", "score_free")
"""In the order of what they know of the guard."""


Score: TypeAlias = float | Literal["inf", "-inf"] | None
"""A number, one that JSON has not, or null for NaN."""


class PointsShape(Shape):
    """What one attacker left of some rows."""

    predicted: list[Count]
    distance: list[float]
    forwards: list[Count]
    backwards: list[Count]
    zero_score_gradient: list[bool]
    scores: dict[Name, list[Score]]
    surrogate_gap: dict[Name, list[Score]]

    def sizes(self) -> Iterator[int]:
        """The length of each column."""
        names = ("predicted", "distance", "forwards", "backwards", "zero_score_gradient")
        yield from (len(getattr(self, name)) for name in names)
        yield from map(len, (*self.scores.values(), *self.surrogate_gap.values()))


class WithheldShape(PointsShape):
    """The points at which right answers of some `rows`, by their place among the images, are withheld."""

    alpha: float = Field(gt=0, le=1)
    rows: list[Count]

    @model_validator(mode="after")
    def _aligned(self) -> "WithheldShape":
        _check_sizes(self.sizes(), len(self.rows))
        return self


class GuardSizeShape(Shape):
    """`facts/guard_attack_<n>.json`."""

    eps: float = Field(gt=0, le=1)
    sample_ids: list[Name]
    attackers: dict[Name, PointsShape]
    abstention: list[WithheldShape]
    confidence: PointsShape

    @model_validator(mode="after")
    def _aligned(self) -> "GuardSizeShape":
        if set(self.attackers) != set(ATTACKERS):
            raise ValueError(f"attackers are {', '.join(ATTACKERS)}")
        for points in (*self.attackers.values(), self.confidence):
            _check_sizes(points.sizes(), len(self.sample_ids))
        if any(row >= len(self.sample_ids) for each in self.abstention for row in each.rows):
            raise ValueError("a row of `abstention` is none of the images")
        return self


def _check_sizes(found: Iterator[int], rows: int) -> None:
    if any(size != rows for size in found):
        raise ValueError(f"every column has {rows} entries, one for each row")


class GuardAttackShape(Shape):
    """`facts/guard_attack.json`."""

    policy: Name
    eps: list[float] = Field(min_length=1, max_length=MOST_SIZES)
    reason: str | None
    steps: Least
    restarts: Least


GUARD_SHAPES: Mapping[str, Any] = {
    "facts/guard_attack.json": GuardAttackShape,
    **{f"facts/guard_attack_{at}.json": GuardSizeShape for at in range(MOST_SIZES)},
}
"""The shape of each file."""
