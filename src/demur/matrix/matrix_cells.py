"""One cell of a matrix: how one model stands one attack, and how well one signal notices it."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from demur.analysis.attack_knowledge import knowledge_of
from demur.analysis.csv_tables import flat
from demur.analysis.quantity import Quantity, Table
from demur.analysis.results import Results
from demur.analysis.run_folder import Run
from demur.analysis.signals.ranking_targets import Target, attack_target, targets
from demur.files import write_atomically
from demur.matrix.matrix_plan import Axes
from demur.records import csv_bytes

FOLDER = "cells"
TABLE = "matrix.csv"
_UNAWARE = "and not the signal"
_POINTS = {
    "first": "the first point that fooled the model, which may flatter a signal",
    "worst": "the worst point of the ball",
    "nearest": "the nearest point that fooled the model, which may flatter a signal",
}


class Cell(Table):
    """One model, one attack, one signal; `failed` with the reason where there are no numbers.

    `accuracy` is of all held-out images, `robust_accuracy` of the attacked ones. `attack_auroc` is the signal's AUROC
    of images that the attack flipped (`flipped`) against the attacked images as they were (`unattacked`), `error_auroc`
    that of wrong answers (`wrong`) against right ones (`right`) to clean images; a fitted signal is scored on test rows
    alone. `points` says which point of the attack was scored, `knowledge` what the attacker knew.
    """

    schema_version: Literal[1] = 1
    state: Literal["finished", "failed"]
    model: str
    attack: str
    signal: str
    reason: str | None = None
    data: str
    model_sha256: str
    run: str | None = None
    norm: str | None = None
    eps: float | None = None
    knowledge: str | None = None
    points: str | None = None
    accuracy: Quantity | None = None
    robust_accuracy: Quantity | None = None
    attack_auroc: Quantity | None = None
    flipped: int | None = None
    unattacked: int | None = None
    error_auroc: Quantity | None = None
    wrong: int | None = None
    right: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where a cell lies in a matrix, and in which file of a folder."""

    model: str
    attack: str
    signal: str
    facts: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The file: another one where anything that its numbers follow from is another."""
        names = (self.model, self.attack, self.signal)
        text = json.dumps([*names, self.facts], sort_keys=True)
        stem = "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", name).strip("_")[:40] for name in names)
        return Path(FOLDER) / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"

    def failed(self, reason: str) -> Cell:
        """The cell that says why there is nothing."""
        return self._cell(state="failed", reason=" ".join(reason.split()))

    def finished(self, run: Run, results: Results, folder: str) -> Cell:
        """The cell as the audit of its model found it."""
        entry = next(each for each in run.conditions("attack") if each["name"] == self.attack)
        row = next(each for each in results.attacks if each.condition == self.attack)
        error, attack = next(targets(run)), attack_target(run, "attack", self.attack)
        error, attack = (self._scored(run, target) for target in (error, attack))
        flipped, wrong = int(attack.positive.sum()), int(error.positive.sum())
        return self._cell(
            state="finished",
            run=folder,
            norm=row.norm,
            eps=row.eps,
            knowledge=f"{knowledge_of(entry['attack'] or {})} {_UNAWARE}",
            points=_POINTS.get(entry["keep"], entry["keep"]),
            accuracy=results.accuracy,
            robust_accuracy=row.robust_accuracy,
            attack_auroc=attack.quantity(attack.rankings[self.signal].area),
            flipped=flipped,
            unattacked=len(attack.rows) - flipped,
            error_auroc=error.quantity(error.rankings[self.signal].area),
            wrong=wrong,
            right=len(error.rows) - wrong,
        )

    def _scored(self, run: Run, target: Target) -> Target:
        """The rows that the signal is scored on: those it was not fitted on."""
        fitted = any(each["name"] == self.signal and "bank" in each for each in run.facts["signals"])
        return target.held_back if fitted else target

    def _cell(self, **content: Any) -> Cell:
        named: dict[str, Any] = {"model": self.model, "attack": self.attack, "signal": self.signal}
        origin: dict[str, Any] = {"data": self.facts["data"], "model_sha256": self.facts["model_sha256"]}
        return Cell(**named, **origin, **content)


def places(axes: Axes) -> Iterator[Place]:
    """Every combination, model by model."""
    common = axes.plan.model_dump(include={"data", "attacked", "limit", "seed", "batch", "trust_labels"})
    for model, sha256 in axes.models.items():
        facts = {**common, "model_sha256": sha256}
        for attack in axes.attacks:
            for signal in axes.signals:
                yield Place(model=model, attack=attack.name, signal=signal, facts=facts)


def finished_cell(folder: Path, place: Place) -> Cell | None:
    """The cell of an earlier run; None where there is none, or none that can be read or has numbers."""
    try:
        found = Cell.model_validate_json((folder / place.path).read_bytes())
    except (OSError, ValueError):
        return None
    own = (found.model, found.attack, found.signal) == (place.model, place.attack, place.signal)
    return found if own and found.state == "finished" else None


def write_cell(folder: Path, place: Place, cell: Cell) -> None:
    """Write its file, whole or not at all."""
    write_atomically(folder / place.path, f"{cell.model_dump_json(indent=1)}\n".encode())


def write_table(folder: Path, cells: Sequence[Cell]) -> None:
    """Every cell as one line for a spreadsheet, numbers with their ends and counts beside them."""
    lines = [flat(cell) for cell in cells]
    columns = dict.fromkeys(name for line in lines for name in line)
    table = pl.DataFrame({name: pl.Series([line.get(name) for line in lines], strict=False) for name in columns})
    write_atomically(folder / TABLE, csv_bytes(table.with_columns(pl.col(pl.Float64).fill_nan(None))))
