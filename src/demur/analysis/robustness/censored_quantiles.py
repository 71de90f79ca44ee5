"""Quantiles of minimal perturbations, where infinite ones are those above the cap."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.analysis.quantity import Number, Quantity, Table
from demur.metrics.estimate import Estimate
from demur.metrics.quantiles import quantile

End = Literal["value", "low", "high"]


class CensoredQuantile(Table):
    """A quantile of minimal perturbations with its exact interval; an end above the cap stands at the cap.

    `above` names those of `value`, `low` and `high` that only are known to lie above it.
    """

    value: Number
    low: Number
    high: Number
    above: tuple[End, ...] = ()
    n: int
    unit: Literal["image", "group"] = "image"
    reason: str | None = None


ROUNDING = 1e-6
"""Changes are kept in single precision; those nearer than this are one."""

_POINTS = 200
_ENDS: tuple[End, ...] = ("value", "low", "high")


def censored_quantile(
    changes: ArrayLike, units: NDArray[Any] | None = None, cap: float | None = None, share: float = 0.5
) -> CensoredQuantile:
    """A quantile, the median unless said otherwise, of minimal perturbations of which infinite ones lie above the cap.

    What lies above stands at the cap, and where there is none it is undefined; `above` names it in either case.
    """
    found = quantile(changes, share, units)
    above = tuple(end for end in _ENDS if np.isposinf(getattr(found, end)))
    stand = np.nan if cap is None else cap
    ends = {end: stand if end in above else getattr(found, end) for end in _ENDS}
    reason = found.reason or ("more images than that were never flipped" if above and cap is None else None)
    return CensoredQuantile(**ends, above=above, n=found.n, unit=found.unit, reason=reason)


def sortable(found: CensoredQuantile) -> float:
    """A quantile by which rows are put in order: infinite where it is only known to lie above the cap."""
    return np.inf if "value" in found.above else found.value


def finite(found: Estimate, why: str) -> Quantity:
    """An estimate whose infinite numbers are undefined, because of `why`."""
    ends = {end: getattr(found, end) for end in _ENDS}
    known = {end: number if np.isfinite(number) else np.nan for end, number in ends.items()}
    lost = any(np.isinf(number) for number in ends.values())
    return Quantity(**known, n=found.n, unit=found.unit, reason=why if lost else found.reason)


def ecdf(changes: ArrayLike, cap: float | None = None) -> tuple[tuple[float, float], ...]:
    """Sizes from 0 to the cap, or to the largest change, each with the share of images that nothing as small flips."""
    found = np.sort(np.asarray(changes, np.float64))
    if cap is not None:
        found[np.isfinite(found)] = found[np.isfinite(found)].clip(max=cap)
    sizes = np.unique(found[np.isfinite(found)])
    if len(sizes) > _POINTS - 2:
        sizes = sizes[np.linspace(0, len(sizes) - 1, _POINTS - 2).round().astype(int)]
    sizes = np.union1d(sizes, [0.0] if cap is None else [0.0, cap])
    left = 1 - np.searchsorted(found, sizes, side="right") / max(1, len(found))
    return tuple((float(size), float(share)) for size, share in zip(sizes, left, strict=True))
