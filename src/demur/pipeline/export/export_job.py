"""One attack on one model, from images to files that are read back and checked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from demur.pipeline.export.export_figures import SHOWN, Facts, caption, figures, share_facts, sheet
from demur.pipeline.export.export_folder import PARTS, Entry, ExportFolder
from demur.pipeline.export.point_files import (
    MEASURED,
    Points,
    Rows,
    arrays_of,
    attack_points,
    join_points,
    logits_of,
    pack,
    read_arrays,
    rounded_arrays,
    table_bytes,
)
from demur.pipeline.job import SHARD, Job
from demur.pipeline.plan.conditions import Condition
from demur.shapes import Images, Labels, Scores

_ROUNDING = 1e-6


def check_reload(job: Job, path: Path) -> Facts:
    """How many rows get the answer that is written beside them, and by how much logits differ at most."""
    arrays = read_arrays(path)
    again = logits_of(job.classifier, arrays["images"], job.plan.batch)
    same = again.argmax(dim=1) == arrays["predicted"]
    return {
        "same": int(same.sum()),
        "of": len(same),
        "largest_difference": float((again - arrays["logits"]).abs().max()),
    }


def answers_to_bytes(job: Job, path: Path) -> tuple[Images, Labels]:
    """The images of a file of bytes, and the answers to them."""
    images = read_arrays(path)["images"].float() / 255
    return images, logits_of(job.classifier, images, job.plan.batch).argmax(dim=1)


def surviving(job: Job, condition: Condition, points: Points, rows: Rows, images: Images, answers: Labels) -> Facts:
    """Of the successful points, how many still fool the model when rounded to 8 bits, and what share is lost.

    `outside` counts survivors that rounding has carried out of the ball, by half a step a pixel at most; null where
    there is no ball that can be measured.
    """
    successful = torch.from_numpy(points.successful)
    wrong = answers != torch.tensor(points.table["label"].to_list())
    kept = successful & wrong
    eps = condition.severity if condition.norm in MEASURED else 0.0
    outside = int((kept & (_sizes(job, condition, rows, images) > eps + _ROUNDING)).sum()) if eps else None
    return {
        "successful": int(successful.sum()),
        "survived": int(kept.sum()),
        "lost": share_facts(~wrong[successful].numpy(), points.table.filter(points.successful)),
        "outside": outside,
    }


def _sizes(job: Job, condition: Condition, rows: Rows, images: Images) -> Scores:
    """How far the rounded images are from their clean ones, read a batch at a time."""
    order = torch.inf if condition.norm == "linf" else 2
    places = torch.split(torch.arange(len(rows)), job.plan.batch)
    return torch.cat(
        [
            torch.linalg.vector_norm((images[at] - job.load(rows[at.numpy()])[0].cpu()).flatten(1), ord=order, dim=1)
            for at in places
        ]
    )


Advance = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class ExportJob:
    """What is attacked, where its files lie (`place`, without an ending) and how they are written."""

    model: int
    job: Job
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


def export_attack(job: ExportJob, folder: ExportFolder, advance: Advance) -> Entry:
    """Attack, write, read back, check the answers; `advance` is called with the number of rows that were attacked."""
    points = join_points([_part(job, folder, number, start, advance) for number, start in enumerate(_starts(job))])
    files = {"arrays": folder.write(job.arrays, _pack(job, arrays_of(points)))}
    found: dict[str, Any] = {"model": job.model, **figures(points, job.condition)}
    found["reloaded"] = check_reload(job.job, folder.path / job.arrays)
    if job.quantised:
        files["rounded"], found["rounded"], points = _write_bytes(job, folder, points)
    files["table"] = folder.write(job.table, table_bytes(points.table))
    files["preview"] = folder.write(f"{job.place}.png", _sheet(job, points))
    entry = {**found, "files": files}
    folder.add(entry)
    _sweep(job, folder)
    return entry


def _starts(job: ExportJob) -> range:
    return range(0, len(job.rows), SHARD)


def _part(job: ExportJob, folder: ExportFolder, number: int, start: int, advance: Advance) -> Points:
    """The points of one shard, as an earlier, interrupted run left them or new. Its table is written last."""
    rows, place = job.rows[start : start + SHARD], f"{PARTS}/{job.place}-s{number:04d}"
    arrays, table = folder.path / f"{place}.safetensors", folder.path / f"{place}.parquet"
    if table.exists():
        points = Points(read_arrays(arrays)["images"], pl.read_parquet(table))
    else:
        points = attack_points(job.job, job.condition, rows)
        folder.write(f"{place}.safetensors", pack({"images": points.images}, "safetensors", {}))
        folder.write(f"{place}.parquet", table_bytes(points.table))
    advance(len(rows))
    return points


def _write_bytes(job: ExportJob, folder: ExportFolder, points: Points) -> tuple[dict[str, str], Facts, Points]:
    """The 8-bit copy, what is left of the successes in it, and the points with its answers in their table."""
    name = f"{job.place}.rounded.{job.suffix}"
    file = folder.write(name, _pack(job, rounded_arrays(points)))
    images, answers = answers_to_bytes(job.job, folder.path / name)
    found = surviving(job.job, job.condition, points, job.rows, images, answers)
    column = pl.Series("rounded.predicted", answers.tolist(), dtype=pl.Int32())
    return file, found, Points(points.images, points.table.with_columns(column))


def _pack(job: ExportJob, arrays: Any) -> bytes:
    facts = {
        "attack": job.condition.name,
        "seed": job.job.plan.seed,
        "model_sha256": job.job.classifier.sha256,
        "data_sha256": job.job.index.sha256,
    }
    return pack(arrays, job.suffix, facts)


def _sheet(job: ExportJob, points: Points) -> bytes:
    """The first successes, then the first of the others."""
    ranked = np.argsort(~points.successful, kind="stable")[:SHOWN].tolist()
    clean, _ = job.job.load(job.rows[ranked])
    names, rows = job.job.classifier.classes, points.table[ranked]
    captions = [caption(names[k], names[p]) for k, p in rows.select("label", "predicted").iter_rows()]
    return sheet(clean.cpu(), points.images[ranked], captions)


def _sweep(job: ExportJob, folder: ExportFolder) -> None:
    for number, _ in enumerate(_starts(job)):
        for ending in ("safetensors", "parquet"):
            (folder.path / PARTS / f"{job.place}-s{number:04d}.{ending}").unlink(missing_ok=True)
    for left in (folder.path / PARTS / Path(job.place).parent, folder.path / PARTS):
        if left.exists() and not any(left.iterdir()):
            left.rmdir()
