"""Small pictures of the images behind the numbers: chosen, changed again where that is cheap, drawn on sheets."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from demur.foreign import is_of_the_model
from demur.pipeline.drawn_rows import every_row, hash_order, named_rows
from demur.pipeline.job import IndexRows, Job
from demur.pipeline.plan.conditions import CLEAN, Condition
from demur.pipeline.run.clean_rows import ANSWERS, columns_of
from demur.pipeline.run.picture_choice import (
    SURE,
    answered_choice,
    changed_choice,
    clean_choice,
    pictures_each,
)
from demur.pipeline.run.record_rows import run_attack
from demur.pipeline.run.run_writer import RunWriter
from demur.shapes import Images

_COLUMNS, _ROWS = 16, 16
_SIDE, _QUALITIES = 64, (80, 60, 40, 20, 5)
_MOST = 1_050_000
_DEAREST = 50
_READ = ANSWERS | {SURE, "forwards", "backwards"}
Tile = NDArray[np.uint8]


def picture_facts(job: Job, folder: RunWriter) -> dict[str, Any]:
    """Write `thumbs/sheet-<n>.webp`, at most 1.05 MB together, and say whose picture is where on them.

    A sheet has 16 columns and up to 16 rows. First come the clean images of `clean`, then for each condition of
    `changed` its images as the condition left them, from the place `first` on. `first` is null where making them again
    would take more than 50 passes for each; then only what the images were before is on the sheets.
    """
    clean = columns_of(folder.path, CLEAN.name, _READ)
    order = hash_order(job.index.contents, job.index.sample_ids, every_row(len(job.index)))
    kept = [job.index.sample_ids[row] for row in clean_choice(clean, order)]
    chosen, foreign = list(_changed(job, folder, clean)), list(_unknown(job, folder))
    clean_ids = list(dict.fromkeys([*kept, *(name for each in chosen for name in each.sample_ids)]))
    images = list(_loaded(job, named_rows(clean_ids, job.index.sample_ids)))
    changed = []
    for each in (*chosen, *foreign):
        made = _made_again(job, each)
        place = {"condition": each.condition.name, "sample_ids": each.sample_ids}
        changed.append({**place, "first": len(images) if made else None})
        images += made
    sheets = _sheets(images)
    folder.write({f"thumbs/{name}": content for name, content in sheets.items()})
    height, width, _ = images[0].shape if images else (1, 1, 3)
    tile = {"width": width, "height": height, "columns": _COLUMNS, "rows": _ROWS}
    return {"tile": tile, "sheets": list(sheets), "clean": clean_ids, "changed": changed}


@dataclass(frozen=True, kw_only=True)
class ChangedImages:
    """Images of which a condition is to be shown, and the passes each took."""

    condition: Condition
    sample_ids: list[str]
    passes: float


def _changed(job: Job, folder: RunWriter, clean: pl.DataFrame) -> Iterator[ChangedImages]:
    conditions = [each for each in job.scored if each.kind in {"attack", "corruption"}]
    each = pictures_each(len(conditions))
    for condition in conditions if each else ():
        rows = columns_of(folder.path, condition.name, _READ)
        names = changed_choice(clean, rows, each)
        if names:
            spent = rows.filter(pl.col("sample_id").is_in(names)).select(pl.col("forwards") + pl.col("backwards"))
            yield ChangedImages(condition=condition, sample_ids=names, passes=float(spent.mean().item()))


def _unknown(job: Job, folder: RunWriter) -> Iterator[ChangedImages]:
    for each in (each for each in job.scored if each.kind == "unknown"):
        names = answered_choice(columns_of(folder.path, each.name, _READ), pictures_each(1))
        yield ChangedImages(condition=each, sample_ids=names, passes=0.0)


def _loaded(job: Job, rows: IndexRows) -> Iterator[Tile]:
    for start in range(0, len(rows), job.plan.batch):
        yield from _pixels(job.load(rows[start : start + job.plan.batch])[0])


def _made_again(job: Job, chosen: ChangedImages) -> list[Tile]:
    """The images of a condition as it left them; none where that is dear, or the model fails on them alone."""
    own, condition = job.on_images_of(chosen.condition), chosen.condition
    rows = named_rows(chosen.sample_ids, own.index.sample_ids)
    if not len(rows) or chosen.passes > _DEAREST:
        return []
    (x, y), keys = own.load(rows), own.keys(rows, condition.name)
    if condition.corruption is not None:
        return list(_pixels(condition.corruption(x, keys)))
    if condition.attack is None:
        return list(_pixels(x))
    try:
        return list(_pixels(run_attack(condition, own.classifier, x, y, keys, batch=own.plan.batch).x))
    except BaseException as error:
        if not is_of_the_model(error):
            raise
        return []


def _pixels(images: Images) -> Iterator[Tile]:
    """Height, width, and one or three channels of bytes, of at most 64 pixels a side."""
    for image in images.detach().cpu().clamp(0, 1):
        array = (image * 255).round().numpy().astype(np.uint8)
        colour = np.moveaxis(array[:3] if len(array) > 2 else array[[0, 0, 0]], 0, 2)
        picture = Image.fromarray(colour)
        scale = min(1.0, _SIDE / max(picture.size))
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        yield np.asarray(picture.resize(size, Image.Resampling.LANCZOS))


def _sheets(images: Sequence[Tile]) -> dict[str, bytes]:
    """The sheets by file name; drawn more coarsely until all of them together have room."""
    found: dict[str, bytes] = {}
    for quality in _QUALITIES:
        found = {f"sheet-{at}.webp": _sheet(part, quality) for at, part in enumerate(_parts(images))}
        if sum(map(len, found.values())) <= _MOST:
            break
    return found


def _parts(images: Sequence[Tile]) -> Iterator[Sequence[Tile]]:
    size = _COLUMNS * _ROWS
    return (images[start : start + size] for start in range(0, len(images), size))


def _sheet(images: Sequence[Tile], quality: int) -> bytes:
    height, width, _ = images[0].shape
    sheet = Image.new("RGB", (_COLUMNS * width, -(-len(images) // _COLUMNS) * height))
    for at, image in enumerate(images):
        sheet.paste(Image.fromarray(image), (at % _COLUMNS * width, at // _COLUMNS * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "webp", quality=quality)
    return buffer.getvalue()
