"""One attack on one model, from images to files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from demur.audit.conditions import Condition
from demur.audit.engine import SHARD, Bench
from demur.audit.export.arrays import arrays_of, packed, read_arrays, rounded_arrays, table_bytes
from demur.audit.export.checks import answers_to_bytes, reloaded, survivors
from demur.audit.export.figures import Facts, figures
from demur.audit.export.folder import PARTS, Entry, Folder
from demur.audit.export.points import Points, Rows, attack, joined
from demur.audit.export.sheet import SHOWN, caption, sheet

Tell = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Job:
    """What is attacked, where its files lie (`place`, without an ending) and how they are written."""

    model: int
    bench: Bench
    condition: Condition
    rows: Rows
    place: str
    suffix: str
    quantised: bool

    @property
    def model_name(self) -> str:
        """What its folder is called."""
        return Path(self.place).parts[0]

    @property
    def arrays(self) -> str:
        """The file of arrays."""
        return f"{self.place}.{self.suffix}"

    @property
    def table(self) -> str:
        """The file with one row per image."""
        return f"{self.place}.parquet"


def run(job: Job, folder: Folder, tell: Tell) -> Entry:
    """Attack, write, read back, ask again; `tell` is called with the number of rows that were attacked."""
    points = joined([_part(job, folder, number, start, tell) for number, start in enumerate(_starts(job))])
    files = {"arrays": folder.write(job.arrays, _packed(job, arrays_of(points)))}
    found: dict[str, Any] = {"model": job.model, **figures(points, job.condition)}
    found["reloaded"] = reloaded(job.bench, folder.path / job.arrays)
    if job.quantised:
        files["rounded"], found["rounded"], points = _rounded(job, folder, points)
    files["table"] = folder.write(job.table, table_bytes(points.table))
    files["preview"] = folder.write(f"{job.place}.png", _sheet(job, points))
    entry = {**found, "files": files}
    folder.add(entry)
    _sweep(job, folder)
    return entry


def _starts(job: Job) -> range:
    return range(0, len(job.rows), SHARD)


def _part(job: Job, folder: Folder, number: int, start: int, tell: Tell) -> Points:
    """The points of one shard, as an earlier, interrupted run left them or new. Its table is written last."""
    rows, place = job.rows[start : start + SHARD], f"{PARTS}/{job.place}-s{number:04d}"
    arrays, table = folder.path / f"{place}.safetensors", folder.path / f"{place}.parquet"
    if table.exists():
        points = Points(read_arrays(arrays)["images"], pl.read_parquet(table))
    else:
        points = attack(job.bench, job.condition, rows)
        folder.write(f"{place}.safetensors", packed({"images": points.images}, "safetensors", {}))
        folder.write(f"{place}.parquet", table_bytes(points.table))
    tell(len(rows))
    return points


def _rounded(job: Job, folder: Folder, points: Points) -> tuple[dict[str, str], Facts, Points]:
    """The 8-bit copy, what is left of the successes in it, and the points with its answers in their table."""
    name = f"{job.place}.rounded.{job.suffix}"
    file = folder.write(name, _packed(job, rounded_arrays(points)))
    images, answers = answers_to_bytes(job.bench, folder.path / name)
    found = survivors(job.bench, job.condition, points, job.rows, images, answers)
    column = pl.Series("rounded.predicted", answers.tolist(), dtype=pl.Int32())
    return file, found, Points(points.images, points.table.with_columns(column))


def _packed(job: Job, arrays: Any) -> bytes:
    told = {
        "attack": job.condition.name,
        "seed": job.bench.plan.seed,
        "model_sha256": job.bench.classifier.sha256,
        "data_sha256": job.bench.index.sha256,
    }
    return packed(arrays, job.suffix, told)


def _sheet(job: Job, points: Points) -> bytes:
    """The first successes, then the first of the others."""
    ranked = np.argsort(~points.successful, kind="stable")[:SHOWN].tolist()
    clean, _ = job.bench.load(job.rows[ranked])
    names, rows = job.bench.classifier.classes, points.table[ranked]
    captions = [caption(names[k], names[p]) for k, p in rows.select("label", "predicted").iter_rows()]
    return sheet(clean.cpu(), points.images[ranked], captions)


def _sweep(job: Job, folder: Folder) -> None:
    for number, _ in enumerate(_starts(job)):
        for ending in ("safetensors", "parquet"):
            (folder.path / PARTS / f"{job.place}-s{number:04d}.{ending}").unlink(missing_ok=True)
    for left in (folder.path / PARTS / Path(job.place).parent, folder.path / PARTS):
        if left.exists() and not any(left.iterdir()):
            left.rmdir()
