"""What a signal made of layers reads in each of them, condition by condition."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from demur.analysis.figures.entropy_tables import Spread, spread
from demur.analysis.quantity import Table
from demur.analysis.row_means import values
from demur.analysis.run_folder import Run
from demur.records import PART

_LAYERS, _CONDITIONS = 12, 8


class LayerSpread(Table):
    """The numbers that one layer gave a signal under one condition, over test rows; in the unit of the signal."""

    signal: str
    unit: str
    layer: str
    condition: str
    spread: Spread


def layer_spreads(run: Run) -> tuple[LayerSpread, ...]:
    """Each layer under the clean images, each attack and each kind of corruption at its hardest.

    At most eight conditions and twelve layers; none where no signal is made of layers.
    """
    signals = [entry for entry in run.facts["signals"] if entry.get("made_of") == "layers"]
    if not signals:
        return ()
    tables = [(name, run.unfitted_rows(name)) for name in _hardest(run.conditions())]
    return tuple(row for entry in signals for name, rows in tables for row in _of_signal(entry, name, rows))


def _hardest(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    """The hardest condition of each family; of corruptions as many as there is room for."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entry in conditions:
        place = (entry["kind"], entry["family"])
        if entry["severity"] >= found.get(place, entry)["severity"]:
            found[place] = entry
    return [entry["name"] for entry in found.values()][:_CONDITIONS]


def _of_signal(entry: Mapping[str, Any], condition: str, rows: pl.DataFrame) -> Iterator[LayerSpread]:
    prefix = f"{PART}{entry['name']}."
    for column in [column for column in rows.columns if column.startswith(prefix)][:_LAYERS]:
        yield LayerSpread(
            signal=entry["name"],
            unit=entry["unit"],
            layer=column.removeprefix(prefix),
            condition=condition,
            spread=spread(values(rows, column)),
        )
