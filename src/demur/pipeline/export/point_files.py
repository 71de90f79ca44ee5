"""The points an attack left, their record rows, and arrays of them in files (safetensors, NumPy)."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.classifier import BoundClassifier
from demur.errors import RunError, unknown
from demur.pipeline.job import Job
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.run.record_rows import ForwardScores, identity, record_table, run_attack
from demur.records import wrong
from demur.shapes import Images, Logits

Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]

MEASURED = ("linf", "l2")
"""Norms whose distances a record has."""

_EDGE = 1e-6


@dataclass(frozen=True, eq=False)
class Points:
    """Images (rows, channels, height, width) on the CPU and a table with one row for each.

    The table has the columns of a record, and besides `clean.predicted` and `fooled`: the answer is wrong, and the
    change no larger than the attack's eps.
    """

    images: Images
    table: pl.DataFrame

    @property
    def right(self) -> Flags:
        """Rows whose clean image is answered right."""
        return answered_right(self.table)

    @property
    def fooled(self) -> Flags:
        """Rows that are answered wrong within the size of the attack, those wrong from the start included."""
        return np.asarray(self.table["fooled"].to_numpy(), bool)

    @property
    def successful(self) -> Flags:
        """Rows that are fooled and were right before."""
        return self.fooled & self.right

    def within(self, condition: Condition) -> Flags:
        """Rows whose change is no larger than the attack's eps; all of them where it has none."""
        return attack_part(self.table, condition)


def answered_right(rows: pl.DataFrame) -> Flags:
    """Rows whose clean image is answered right."""
    return np.asarray((rows["clean.predicted"] == rows["label"]).to_numpy(), bool)


def attack_part(rows: pl.DataFrame, condition: Condition) -> Flags:
    """Ensembles keep the minimal perturbation, of whatever size, and are judged at one size."""
    if condition.keep != "nearest" or not condition.severity or condition.norm not in MEASURED:
        return np.ones(len(rows), bool)
    return np.asarray((rows[f"distance.{condition.norm}"] <= condition.severity + _EDGE).to_numpy(), bool)


def attack_points(job: Job, condition: Condition, rows: Rows) -> Points:
    """Attack some index rows; the keys, hence the points, are those of an audit with the same seed."""
    images, labels = job.load(rows)
    keys = job.keys(rows, condition.name)
    clean = logits_of(job.classifier, images, job.plan.batch)
    found = run_attack(condition, job.classifier, images, labels, keys, batch=job.plan.batch)
    shown = ForwardScores(found.logits.cpu(), {}, torch.zeros(2, len(rows), dtype=torch.int64))
    record = record_table(condition, identity(job, rows), labels.cpu(), shown, found)
    return Points(
        found.x.cpu(),
        record.with_columns(
            pl.Series("clean.predicted", clean.argmax(dim=1).tolist(), dtype=pl.Int32()),
            pl.Series("fooled", wrong(record) & attack_part(record, condition)),
        ),
    )


def logits_of(classifier: BoundClassifier, images: Images, batch: int) -> Logits:
    """What a model answers, on the CPU."""
    with torch.no_grad():
        parts = [classifier.logits(part.to(classifier.device)).cpu() for part in torch.split(images, batch)]
    return torch.cat(parts)


def join_points(parts: list[Points]) -> Points:
    """All rows of several."""
    return Points(torch.cat([part.images for part in parts]), pl.concat([part.table for part in parts], how="diagonal"))


SUFFIXES = ("safetensors", "npz")

_COLUMNS: Mapping[str, tuple[str, torch.dtype]] = {
    "labels": ("label", torch.int64),
    "predicted": ("predicted", torch.int64),
    "fooled": ("fooled", torch.bool),
    "linf": ("distance.linf", torch.float32),
    "l2": ("distance.l2", torch.float32),
    "step": ("step", torch.int32),
    "forwards": ("forwards", torch.int32),
    "backwards": ("backwards", torch.int32),
    "flags": ("flags", torch.int32),
}


def check_suffix(suffix: str) -> None:
    """Refuse a format nobody knows."""
    if suffix not in SUFFIXES:
        raise unknown("format", suffix, SUFFIXES)


def arrays_of(points: Points) -> dict[str, Tensor]:
    """Images, logits and what the table says in numbers; the row axis is the first of each."""
    rows = points.table
    logits = rows.select(f"logit.{k}" for k in range(sum(name.startswith("logit.") for name in rows.columns)))
    columns = {name: _tensor(rows[column], kind) for name, (column, kind) in _COLUMNS.items()}
    return {"images": points.images, "logits": torch.tensor(logits.to_numpy()), **columns}


def rounded_arrays(points: Points) -> dict[str, Tensor]:
    """Images as bytes, the nearest of 256 values, and labels."""
    return {"images": as_bytes(points.images), "labels": _tensor(points.table["label"], torch.int64)}


def as_bytes(images: Images) -> Tensor:
    """The nearest of 256 values, as a byte."""
    return (images * 255).round().to(torch.uint8)


def pack(arrays: Mapping[str, Tensor], suffix: str, facts: Mapping[str, Any]) -> bytes:
    """The content of a file; the same arrays are the same bytes. Safetensors have `facts` as JSON beside them."""
    whole = {name: array.contiguous() for name, array in arrays.items()}
    if suffix == "npz":
        buffer = io.BytesIO()
        np.savez(buffer, **{name: array.numpy() for name, array in whole.items()})  # type: ignore[arg-type]  # its stub takes a flag by keyword too
        return buffer.getvalue()
    from safetensors.torch import save

    return save(whole, {"demur": json.dumps(dict(facts), sort_keys=True)})


def table_bytes(table: pl.DataFrame) -> bytes:
    """The content of a Parquet file; the same table is the same bytes."""
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def read_arrays(path: Path | str) -> dict[str, Tensor]:
    """The arrays of a file that was exported, by name.

    Raises:
        RunError: the file is not there or damaged.
    """
    try:
        return _unpack(Path(path))
    except Exception as error:  # each library has its own
        reason = str(error).partition("\n")[0]
        raise RunError(f"{path} cannot be read ({reason}). Delete it, and the same command writes it again.") from error


def _unpack(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    from safetensors.torch import load

    return load(path.read_bytes())


def _tensor(column: pl.Series, kind: torch.dtype) -> Tensor:
    return torch.tensor(column.to_list(), dtype=kind)
