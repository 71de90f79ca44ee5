"""Whether maps change with the weights they claim to explain."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from demur.analysis.average import mean_of, measured
from demur.analysis.looked import Outcome, Sanity
from demur.analysis.run import Run
from demur.analysis.table import Quantity

_FOUND = "correlation"

_SAID: Mapping[Outcome, str] = {
    "pass": "with random weights the map changes: it shows what the model has learned",
    "warn": "the map is not shown to change with random weights",
    "fail": "with random weights the map hardly changes: it shows the image more than what was learned",
}


def sanities(run: Run) -> Mapping[str, Sanity]:
    """Map → how much of it is left when the weights are drawn anew; nothing where that was not tried."""
    return {entry["map"]: _sanity(run, entry) for entry in run.noted("sanity") or ()}


def _sanity(run: Run, entry: Mapping[str, Any]) -> Sanity:
    """Images on which either map is zero everywhere have no correlation and are left out."""
    columns = {"sample_id": entry["sample_ids"], _FOUND: entry["correlation"]}
    found = pl.DataFrame(columns, schema={"sample_id": pl.String, _FOUND: pl.Float64})
    known = measured(found.join(run.rows(entry["map"]), on="sample_id", maintain_order="left"), _FOUND)
    correlation = mean_of(known, _FOUND)
    state = _state(correlation, entry["limit"])
    return Sanity(n=len(known), correlation=correlation, state=state, sentence=_SAID[state])


def _state(alike: Quantity, limit: float) -> Outcome:
    """Judged on the whole interval; where it holds the limit, or there is none, nothing is shown either way."""
    return "pass" if alike.high < limit else "fail" if alike.low >= limit else "warn"
