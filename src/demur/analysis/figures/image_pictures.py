"""The pictures an audit kept of images, and what the model made of each; column by column, for there are many."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

from demur.analysis.accuracy.chart_data import Histogram
from demur.analysis.quantity import Table
from demur.analysis.run_folder import BASELINE, Run, score
from demur.records import wrong


class PictureColumns(Table):
    """Some images; entry i of every column is of the same one.

    `places` count along the sheets. `answered` is null where there is no guard. `bins` are the bins of each signal's
    histogram that its score lies in, −1 for images the histogram does not count.
    """

    sample_ids: tuple[str, ...]
    places: tuple[int | None, ...]
    labels: tuple[int | None, ...]
    predicted: tuple[int, ...]
    confidence: tuple[float, ...]
    answered: tuple[bool | None, ...]
    bins: dict[str, tuple[int, ...]]


class ChangedPictures(Table):
    """What a condition made of some images that were right before; `flips` counts all whose answer it turned wrong.

    `outcome` says which histogram counts its images, null for conditions that none counts.
    """

    condition: str
    outcome: Literal["corrupted", "attacked"] | None
    flips: int | None
    images: PictureColumns


class PictureTable(Table):
    """Pictures of `width` by `height` pixels, `columns` by `rows` of them on each of the `sheets` of `thumbs/`.

    `errors` are the wrong answers to all clean images of each class, `surest` how many of these have a picture before
    the first that has none, the most confident first.
    """

    width: int
    height: int
    columns: int
    rows: int
    sheets: tuple[str, ...]
    errors: tuple[int, ...]
    surest: tuple[int, ...]
    clean: PictureColumns
    changed: tuple[ChangedPictures, ...]


def picture_table(run: Run, histograms: Sequence[Histogram]) -> PictureTable | None:
    """The pictures that were kept; None of a run by an earlier version, which kept none."""
    facts = run.optional_facts("pictures")
    if facts is None or BASELINE not in run.signals:
        return None
    clean, edges = run.rows("clean"), {found.signal: np.asarray(found.edges) for found in histograms}
    places = {name: at for at, name in enumerate(facts["clean"])}
    failed = clean.filter(pl.Series(wrong(clean))).sort(f"signal.{BASELINE}", "sample_id")
    counts = np.bincount(failed["label"].to_numpy(), minlength=len(run.classes))
    return PictureTable(
        **facts["tile"],
        sheets=facts["sheets"],
        errors=tuple(int(count) for count in counts),
        surest=_surest(failed, facts["clean"], len(run.classes)),
        clean=_columns(run, clean, places, edges),
        changed=tuple(_changed(run, clean, entry, edges) for entry in facts["changed"]),
    )


def _surest(failed: pl.DataFrame, kept: Sequence[str], classes: int) -> tuple[int, ...]:
    """Of each class how many of its wrong answers come before the first that has no picture."""
    unbroken = failed.with_columns(kept=pl.col("sample_id").is_in(kept)).with_columns(
        unbroken=pl.col("kept").cum_min().over("label")
    )
    counts = dict(unbroken.group_by("label").agg(pl.col("unbroken").sum()).iter_rows())
    return tuple(int(counts.get(label, 0)) for label in range(classes))


def _changed(
    run: Run, clean: pl.DataFrame, entry: Mapping[str, Any], edges: Mapping[str, np.ndarray]
) -> ChangedPictures:
    rows, first = run.rows(entry["condition"]), entry["first"]
    places = {name: None if first is None else first + at for at, name in enumerate(entry["sample_ids"])}
    right = clean.filter(~pl.Series(wrong(clean))).select("sample_id")
    known = rows["label"].null_count() == 0
    flips = rows.filter(pl.Series(wrong(rows))).join(right, on="sample_id", how="semi").height if known else None
    return ChangedPictures(
        condition=entry["condition"],
        outcome=_outcome(run, entry["condition"]),
        flips=flips,
        images=_columns(run, rows, places, edges if known else {}),
    )


def _outcome(run: Run, condition: str) -> Literal["corrupted", "attacked"] | None:
    """Corrupted images, and those of attacks at the worst points they found, as the histograms count them."""
    if any(entry["name"] == condition for entry in run.conditions("corruption")):
        return "corrupted"
    return "attacked" if any(entry["name"] == condition for entry in run.conditions("attack", "worst")) else None


def _columns(
    run: Run, rows: pl.DataFrame, places: Mapping[str, int | None], edges: Mapping[str, np.ndarray]
) -> PictureColumns:
    order = pl.DataFrame({"sample_id": list(places), "place": list(places.values())}, schema_overrides=_PLACE)
    kept = order.join(rows, on="sample_id", how="inner", maintain_order="left")
    answered = [None] * len(kept) if run.guard is None else run.accepts(run.guard, kept).tolist()
    return PictureColumns(
        sample_ids=tuple(kept["sample_id"]),
        places=tuple(kept["place"]),
        labels=tuple(kept["label"]),
        predicted=tuple(kept["predicted"]),
        confidence=tuple(round(1 - uncertainty, 4) for uncertainty in score(kept, BASELINE).tolist()),
        answered=tuple(answered),
        bins={signal: _bins(kept, signal, bounds) for signal, bounds in edges.items()},
    )


_PLACE = {"sample_id": pl.String(), "place": pl.Int64()}


def _bins(rows: pl.DataFrame, signal: str, edges: np.ndarray) -> tuple[int, ...]:
    """As numpy counts a histogram: a bin holds its left end, the last one both; what lies outside is in the outer."""
    found = np.clip(np.searchsorted(edges, score(rows, signal), side="right") - 1, 0, len(edges) - 2)
    return tuple(int(at) for at in np.where((rows["split"] == "test").to_numpy(), found, -1))
