"""Small pictures of the most confident errors, for the report's gallery."""

import io
from collections.abc import Sequence

import numpy as np
import polars as pl
from PIL import Image

from demur.audit.engine import Bench
from demur.audit.folder import Folder
from demur.records import write_atomically, write_json
from demur.shapes import Images

_PICTURES = 24
_SIDE = 112
_MOST = 6_000


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
            write_atomically(folder.path / "thumbs" / f"{number}.webp", _webp(image))
    write_json(folder.path / "facts" / "gallery.json", worst["sample_id"].to_list())


def _webp(image: Images) -> bytes:
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
