"""Small pictures for the report: the most confident errors, and what corruptions look like."""

import io
from collections.abc import Sequence

import numpy as np
import polars as pl
from PIL import Image

from demur.audit.conditions import CLEAN, Condition
from demur.audit.engine import Bench
from demur.audit.folder import Folder
from demur.records import write_atomically, write_json
from demur.shapes import Images

_PICTURES = 24
_SIDE = 112
_MOST = 6_000
_SHOWN, _FAMILIES = 3, 4


def save_thumbs(bench: Bench, folder: Folder, clean: pl.DataFrame) -> None:
    """Write `thumbs/<n>.webp` and `facts/gallery.json` for the wrong clean answers with the least msp doubt."""
    worst = (
        clean.with_row_index("row")
        .filter(pl.col("error").is_null() & (pl.col("predicted") != pl.col("label")))
        .sort("signal.msp", "sample_id")
        .head(_PICTURES)
    )
    rows: Sequence[int] = worst["row"].to_list()
    if rows:
        images, _ = bench.load(rows)
        for number, image in enumerate(images.cpu()):
            write_atomically(folder.path / "thumbs" / f"{number}.webp", webp(image))
    write_json(folder.path / "facts" / "gallery.json", worst["sample_id"].to_list())


def save_corruption_thumbs(bench: Bench, folder: Folder, row: int, found: Sequence[Condition]) -> None:
    """Write `thumbs/original.webp`, `thumbs/<family>.webp` and `facts/corruptions.json`: one image under each family.

    Each is shown at the severity nearest to 3 that the plan has; nothing is written for fewer than four families.
    """
    chosen: dict[str, Condition] = {}
    for condition in (each for each in found if each.kind == "corruption"):
        known = chosen.get(condition.family, condition)
        if condition.severity and abs(condition.severity - _SHOWN) <= abs(known.severity - _SHOWN):
            chosen[condition.family] = condition
    if len(chosen) < _FAMILIES:
        return
    pictures = {"original": bench.shown(CLEAN, row), **{name: bench.shown(chosen[name], row) for name in chosen}}
    for name, picture in pictures.items():
        write_atomically(folder.path / "thumbs" / f"{name}.webp", webp(picture.cpu()))
    thumbs = {family: f"{family}.webp" for family in chosen}
    facts = {"sample_id": bench.index.sample_ids[row], "original": "original.webp", "thumbs": thumbs}
    write_json(folder.path / "facts" / "corruptions.json", facts)


def webp(image: Images) -> bytes:
    """At most 6 kB: enlarged without smoothing when tiny, and coded more coarsely until it fits."""
    array = (image.clamp(0, 1) * 255).round().to(dtype=image.dtype).numpy().astype(np.uint8)
    pixels = array[0] if len(array) == 1 else np.moveaxis(array[:3], 0, 2)
    picture = Image.fromarray(pixels)
    scale = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    for quality in (80, 60, 40, 20, 5):
        buffer = io.BytesIO()
        picture.save(buffer, "webp", quality=quality)
        if buffer.tell() <= _MOST:
            break
    return buffer.getvalue()
