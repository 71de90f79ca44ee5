"""All tables that only figures need, and the share of each outcome beyond the threshold."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl

from demur.analysis.accuracy.chart_data import Histogram
from demur.analysis.figures.confused_pairs import ConfusedPairs, confused_pairs
from demur.analysis.figures.entropy_tables import EntropyTable, entropy_table
from demur.analysis.figures.error_rocs import ErrorRoc, OperatingPoint, error_rocs, operating_points
from demur.analysis.figures.image_pictures import PictureTable, picture_table
from demur.analysis.figures.layer_spreads import LayerSpread, layer_spreads
from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Run, score
from demur.metrics import proportion
from demur.records import groups, wrong


class Beyond(Table):
    """The share of the test images of one outcome whose score lies above the threshold of the guard."""

    outcome: Literal["right", "wrong", "corrupted", "attacked"]
    share: Quantity


class FigureTables(Table):
    """What figures show beside the other tables; `threshold` is that of the guard in the unit of its `signal`."""

    signal: str | None
    threshold: float | None
    beyond: tuple[Beyond, ...]
    pictures: PictureTable | None
    entropy: EntropyTable | None
    layers: tuple[LayerSpread, ...]
    rocs: tuple[ErrorRoc, ...]
    operating_points: tuple[OperatingPoint, ...]
    pairs: tuple[ConfusedPairs, ...]


def figure_tables(
    run: Run, histograms: Sequence[Histogram], signal: str | None, threshold: float | None
) -> FigureTables:
    """The tables of a run.

    Args:
        run: the run.
        histograms: they say which bin each picture belongs to.
        signal: what the guard goes by, where that is one signal.
        threshold: the guard answers where the signal is at most this.
    """
    one = signal in run.signals and threshold is not None
    return FigureTables(
        signal=signal if one else None,
        threshold=threshold if one else None,
        beyond=_beyond(run, str(signal), float(threshold)) if threshold is not None and one else (),
        pictures=picture_table(run, histograms),
        entropy=entropy_table(run),
        layers=layer_spreads(run),
        rocs=error_rocs(run),
        operating_points=operating_points(run),
        pairs=confused_pairs(run),
    )


def _beyond(run: Run, signal: str, threshold: float) -> tuple[Beyond, ...]:
    clean = run.rows("clean", "test")
    failed = pl.Series(wrong(clean))
    tables = {
        "right": [clean.filter(~failed)],
        "wrong": [clean.filter(failed)],
        "corrupted": [run.rows(entry["name"], "test") for entry in run.conditions("corruption")],
        "attacked": [run.rows(entry["name"]) for entry in run.conditions("attack", "worst")],
    }
    return tuple(
        Beyond(outcome=outcome, share=_share(found, signal, threshold))  # type: ignore[arg-type]
        for outcome, found in tables.items()
        if any(len(rows) for rows in found)
    )


def _share(tables: Sequence[pl.DataFrame], signal: str, threshold: float) -> Quantity:
    """The share over all rows; those of one image under several conditions go together."""
    flags = np.concatenate([score(rows, signal) > threshold for rows in tables])
    own = groups(tables[0])
    if own is not None or len(tables) == 1:
        units = None if own is None else np.concatenate([groups(rows) for rows in tables])
        return Quantity.of(proportion(flags, units))
    images = np.concatenate([rows["sample_id"].to_numpy() for rows in tables])
    return Quantity.of(proportion(flags, images)).model_copy(update={"unit": "image"})
