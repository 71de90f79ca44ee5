"""How good the labels are: what a second labeller says, and how sure each label is."""

from typing import Any

import numpy as np
import polars as pl

from demur.analysis.accuracy.overall import accuracy
from demur.analysis.guard_parts import guard_parts
from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Flags, Run, independent_rows, score, share
from demur.metrics.binomial import weighted_share
from demur.metrics.delong import auroc_interval
from demur.metrics.paired import kappa_interval
from demur.policies.keeping import Keeping, judged
from demur.records import SECOND, WEIGHT, groups, wrong


class SecondLabel(Table):
    """How far a second labeller agrees, and the results on the images where both do.

    `pairs` images have two labels, `n` of them twice the same; the guarantee is checked on those of the test split.
    """

    pairs: int
    agreement: Quantity
    kappa: Quantity
    n: int
    accuracy: Quantity
    auroc: Quantity
    answers: int | None
    wrong_answers: int | None
    risk: Quantity | None
    holds: Keeping | None


class LabelQuality(Table):
    """What is known of the labels themselves; `weighted_accuracy` counts an image by how sure its label is."""

    second: SecondLabel | None
    weights: int
    weighted_accuracy: Quantity | None


def label_quality(run: Run) -> LabelQuality | None:
    """Agreement and results on the agreed labels, weighted accuracy; None where neither is known."""
    clean = run.rows("clean")
    twice = _rows_with(clean, SECOND)
    weighed = _rows_with(clean, WEIGHT)
    if not len(twice) and not len(weighed):
        return None
    return LabelQuality(
        second=_second(run, twice) if len(twice) else None,
        weights=len(weighed),
        weighted_accuracy=_weighted_accuracy(weighed) if len(weighed) else None,
    )


def _rows_with(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    return rows.filter(pl.col(column).is_not_null()) if column in rows.columns else rows.clear()


def _second(run: Run, twice: pl.DataFrame) -> SecondLabel:
    same = (twice["label"] == twice[SECOND]).to_numpy()
    agreed = twice.filter(same)
    labels = twice["label"].to_numpy(), twice[SECOND].to_numpy()
    test = agreed.filter(pl.col("split") == "test")
    answered = None if run.guard is None else run.accepts(run.guard, test)
    return SecondLabel(
        pairs=len(twice),
        agreement=share(same, twice),
        kappa=Quantity.of(kappa_interval(*labels, groups(twice))),
        n=len(agreed),
        accuracy=accuracy(agreed),
        auroc=Quantity.of(auroc_interval(score(agreed, run.baseline), wrong(agreed), groups(agreed))),
        **_guarantee(run, test, answered),
    )


def _guarantee(run: Run, test: pl.DataFrame, answered: Flags | None) -> dict[str, Any]:
    """The guarantee, checked on agreed test labels; certified it was on all of them."""
    if run.guard is None or answered is None:
        return dict.fromkeys(("answers", "wrong_answers", "risk", "holds"))
    accepted, units = test.filter(answered), independent_rows(test)
    given = units.filter(run.accepts(run.guard, units))
    return {
        "answers": len(given),
        "wrong_answers": int(wrong(given).sum()),
        "risk": share(wrong(accepted), accepted),
        "holds": judged(guard_parts(run, run.guard, test)),
    }


def _weighted_accuracy(rows: pl.DataFrame) -> Quantity:
    own = np.asarray(rows[WEIGHT].to_numpy(), np.float64)
    return Quantity.of(weighted_share(~wrong(rows), own, groups(rows)))
