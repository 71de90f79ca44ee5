"""A certificate from scores of one's own: which rows place the thresholds, which test them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from demur.errors import InputError
from demur.policies.certificate import Certificate, Refusal
from demur.policies.certified import Certified
from demur.policies.fixed_sequence import Calibration
from demur.policies.look import Look
from demur.splits import FEWEST, SHARES_OF_FEWEST

TUNE_SHARE = 2 / 7
"""The share of units that place the thresholds: 20 of the 70 % that tune and certify have of a small data set."""

TUNE_SHARE_OF_FEW = SHARES_OF_FEWEST["tune"]
"""The same below 600 units."""


@runtime_checkable
class _Tensor(Protocol):
    """Anything that may carry a gradient."""

    def detach(self) -> Any:
        """The same numbers without a gradient."""


def certify(
    scores: object,
    wrong: object,
    *,
    risk: float,
    delta: float = 0.05,
    tune: tuple[object, object] | None = None,
    groups: Sequence[str] | NDArray[Any] | None = None,
    seed: int = 0,
    looks: int = 1,
    weights: object = None,
    largest_weight: float | None = None,
    largest_group: int | None = None,
) -> Certificate | Refusal:
    """The laxest certified threshold on scores of one's own, or why there is none.

    With probability ≥ 1 − `delta` over the rows, at most `risk` of the answers at the threshold are wrong. Without
    `tune` two sevenths of the units (a fifth of fewer than 600), drawn by `seed`, place the thresholds and the others
    certify; with it, all rows certify. Another draw, signal, risk or set of labels after a refusal is another look: say
    so, for it may spend less of `delta`.

    Args:
        scores: uncertainty (rows,), higher = more uncertain; arrays, lists or tensors, with or without gradient.
        wrong: one flag (rows,) per row: whether the answer is wrong.
        risk: the largest tolerable share of wrong answers among the answered.
        delta: the probability that the guarantee may fail.
        tune: scores and flags of other rows, which place the thresholds.
        groups: the unit of independence of each row (patient, camera, lot); by default every row is one.
        seed: of the draw.
        looks: how many different tests these labels, or others of the same source, have decided, this one included.
        weights: how much each row counts, at least 0; the risk is then the weighted share of wrong answers.
        largest_weight: the largest weight that any row can have, fixed before rows were drawn, not the largest seen.
        largest_group: the largest number of rows that any group can have, fixed beforehand: each row then counts
            equally, instead of each group.

    Raises:
        InputError: scores and flags that are not one number each per row, NaN, a risk that is no share, or weights
            without their bound.
    """
    policy, look = Certified(risk=risk, delta=delta, largest_group=largest_group), Look(looks, "caller")
    rows = replace(_rows(scores, wrong, groups), weights=_shares(weights, largest_weight))
    if tune is not None:
        return policy.fit(_rows(*tune, None), rows, look)
    if len(rows) < 2:
        raise InputError(
            f"certifying needs rows to place thresholds and others to test them; got {len(rows)}. Give more."
        )
    units = np.arange(len(rows)) if rows.groups is None else np.unique(rows.groups, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(int(units.max()) + 1)
    share = TUNE_SHARE_OF_FEW if len(order) < FEWEST else TUNE_SHARE
    placing = np.isin(units, order[: max(1, round(share * len(order)))])
    return policy.fit(rows.rows(placing), rows.rows(~placing), look)


def _rows(scores: object, wrong: object, groups: Sequence[str] | NDArray[Any] | None) -> Calibration:
    found, flags = _column("scores", scores), _column("wrong", wrong)
    if not np.isin(flags, (0, 1)).all():
        raise InputError(
            "`wrong` must be one flag per row: true where the answer is wrong, else false. Compare answers with "
            "labels, such as (logits.argmax(1) != labels)."
        )
    return Calibration(found, flags.astype(bool), None if groups is None else np.asarray(groups))


def _column(name: str, values: object) -> NDArray[np.float64]:
    plain = values.detach().cpu() if isinstance(values, _Tensor) else values
    try:
        found = np.asarray(plain, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"`{name}` must be one number per row; got {type(values).__name__}.") from None
    if found.ndim != 1:
        raise InputError(f"`{name}` must be one number per row, (rows,); got the shape {found.shape}.")
    return found


def _shares(weights: object, largest: float | None) -> NDArray[np.float64] | None:
    """Weights as shares of the largest there can be."""
    if weights is None:
        return None
    found = _column("weights", weights)
    top = float(found.max(initial=0.0))
    if largest is None or not top <= largest or largest <= 0:
        raise InputError(
            "weights need `largest_weight`, the largest that any row can have, fixed before the rows were drawn; got "
            f"{largest} for weights up to {top:g}."
        )
    return found / largest
