"""The base of all result tables, and the number with an interval they are made of."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from demur.metrics.estimate import Estimate

Number = Annotated[
    float,
    BeforeValidator(lambda v: float("nan") if v is None else v),
    PlainSerializer(lambda v: None if v != v else v, when_used="json"),
]


class Table(BaseModel):
    """Base of all result tables: frozen and closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Quantity(Table):
    """An `Estimate` as a table row: value, 95 % interval, count, unit."""

    value: Number
    low: Number
    high: Number
    n: int
    unit: Literal["image", "group"] = "image"
    reason: str | None = None

    @classmethod
    def of(cls, estimate: Estimate) -> "Quantity":
        """The table row of an estimate."""
        return cls(**vars(estimate))


def by_chance(p_value: float) -> str:
    """A p-value as text: how often chance alone would do as much.

    >>> by_chance(0.0312), by_chance(0.45123), by_chance(0.00002), by_chance(float("nan"))
    ('p = 0.031', 'p = 0.45', 'p < 0.001', '—')
    """
    if math.isnan(p_value):
        return "—"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}" if p_value < 0.1 else f"p = {p_value:.2f}"
