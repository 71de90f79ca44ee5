"""The shapes of what an audit leaves of bounds and proofs: norms, interval bounds, votes under noise."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from demur.analysis.json_shape import Count, Least, Shape


class LipschitzShape(Shape):
    """`facts/lipschitz.json`."""

    layers: list[dict[str, Any]]
    upper: float | None
    reason: str | None
    sample_ids: list[str]
    lower: list[float | None]
    margins: list[float | None]


class ProvenSizeShape(Shape):
    """One size of `facts/proof.json`."""

    right: list[bool]
    msp: list[float]
    margin: list[float]


class ProofShape(Shape):
    """`facts/proof.json`."""

    eps: list[float]
    reason: str | None
    sample_ids: list[str]
    radii: list[float]
    sizes: list[ProvenSizeShape]


class SmoothingShape(Shape):
    """`facts/smoothing.json`."""

    sigma: Annotated[float, Field(gt=0)]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    selection: Least
    samples: Least
    share: Annotated[float, Field(ge=0.5, lt=1)]
    radii: list[float]
    reason: str | None
    sample_ids: list[str]
    selected: list[Count]
    votes: list[Count]
    label_votes: list[Count]


PROOF_SHAPES: Mapping[str, Any] = {
    "facts/lipschitz.json": LipschitzShape,
    "facts/proof.json": ProofShape,
    "facts/smoothing.json": SmoothingShape,
}
