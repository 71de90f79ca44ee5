"""Whether maps change with the weights they claim to explain."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from demur.analysis.average import average
from demur.analysis.looked import Outcome, Sanity
from demur.analysis.run import Run
from demur.analysis.table import Quantity
from demur.records import read_json

ALIKE = 0.5
"""The mean rank correlation with maps of random weights from which on a map is not believed."""


def sanities(run: Run) -> Mapping[str, Sanity]:
    """Map → how much of it is left when the weights are drawn anew; nothing where that was not tried."""
    path = run.path / "facts" / "sanity.json"
    if not path.exists():
        return {}
    return {entry["map"]: _sanity(entry["correlation"], entry["sentence"]) for entry in read_json(path)}


def _sanity(found: list[float | None], sentence: str) -> Sanity:
    """Images on which either map is zero everywhere have no correlation and are left out."""
    known = np.array([value for value in found if value is not None], np.float64)
    correlation = average(known, pl.DataFrame({"group": [None] * len(known)}))
    return Sanity(n=len(known), correlation=correlation, state=_state(correlation), sentence=sentence)


def _state(alike: Quantity) -> Outcome:
    """Judged on the whole interval; where it holds the limit, or there is none, nothing is shown either way."""
    return "pass" if alike.high < ALIKE else "fail" if alike.low >= ALIKE else "warn"
