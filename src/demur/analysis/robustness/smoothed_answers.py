"""What is proven in L2 of the smoothed classifier, from the votes that an audit counted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.run_folder import Floats, Run, share
from demur.metrics.smoothed_radii import MAJORITY, smoothed_radius


class SmoothedSize(Table):
    """One size of L2: what is proven of all changes up to it, each image with probability 1 − alpha.

    `right`: the smoothed classifier answers the label. Of the guard that answers only what more than a share of the
    noise is called: `guard_right`, it answers the label, and `accepted_wrong`, it may answer another class for all that
    is proven.
    """

    radius: Number
    right: Quantity
    guard_right: Quantity
    accepted_wrong: Quantity


class Smoothed(Table):
    """The smoothed classifier, and a guard by votes, on the first `images` of those attacked, or why there are none.

    `reach` is the largest radius that so many `samples` can prove; of the guard `answer_reach` that the label is
    answered, and `guard_reach` that nothing else is. `answered` are the images, as they
    are, that the guard is shown to answer.
    """

    images: int
    reason: str | None
    sigma: Number
    alpha: Number
    selection: int
    samples: int
    share: Number
    reach: Number
    answer_reach: Number
    guard_reach: Number
    answered: Quantity | None = None
    sizes: tuple[SmoothedSize, ...] = ()


def smoothed(run: Run) -> Smoothed | None:
    """What was proven under noise; None where the plan asked for none."""
    facts = run.optional_facts("smoothing")
    if facts is None:
        return None
    rows = smoothed_rows(run, facts)
    found = Smoothed(
        images=len(rows),
        **{name: facts[name] for name in ("reason", "sigma", "alpha", "selection", "samples", "share")},
        reach=float(_radii(facts, facts["samples"], MAJORITY)),
        answer_reach=float(_radii(facts, facts["samples"], facts["share"])),
        guard_reach=float(_radii(facts, facts["samples"], 1 - facts["share"])),
    )
    if not len(rows):
        return found.model_copy(update={"reason": facts["reason"] or "no image was left to ask about"})
    return found.model_copy(update=_shares(rows, facts))


def _shares(rows: pl.DataFrame, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "answered": share(_radii(facts, rows["votes"].to_numpy(), facts["share"]) > 0, rows),
        "sizes": tuple(_size(rows, radius) for radius in facts["radii"]),
    }


def smoothed_rows(run: Run, facts: Mapping[str, Any]) -> pl.DataFrame:
    """The clean rows of the images with three radii of each: of the answer, and of the guard `guard` and `safe`.

    Up to `right` the smoothed classifier answers the label, up to `guard` the guard does, up to `safe` the guard
    answers nothing else; negative where nothing is proven of the image itself.
    """
    votes = np.asarray(facts["label_votes"], np.int64)
    columns = {name: pl.Series(facts[name], dtype=pl.Int64) for name in ("selected", "votes")}
    radii = {"right": MAJORITY, "guard": facts["share"], "safe": 1 - facts["share"]}
    counted = pl.DataFrame(
        {"sample_id": pl.Series(facts["sample_ids"], dtype=pl.String), **columns}
        | {f"{name}_radius": _radii(facts, votes, level) for name, level in radii.items()}
    )
    rows = run.rows("clean").join(counted, on="sample_id", how="inner", maintain_order="left")
    chosen = pl.col("selected") == pl.col("label")
    return rows.with_columns(
        pl.when(chosen).then(pl.col(f"{name}_radius")).otherwise(-np.inf).alias(f"{name}_radius")
        for name in ("right", "guard")
    )


def _radii(facts: Mapping[str, Any], votes: Any, level: float) -> Floats:
    return smoothed_radius(votes, facts["samples"], sigma=facts["sigma"], alpha=facts["alpha"], share=level)


def _size(rows: pl.DataFrame, radius: float) -> SmoothedSize:
    return SmoothedSize(
        radius=radius,
        right=share(rows["right_radius"].to_numpy() > radius, rows),
        guard_right=share(rows["guard_radius"].to_numpy() > radius, rows),
        accepted_wrong=share(~(rows["safe_radius"].to_numpy() > radius), rows),
    )
