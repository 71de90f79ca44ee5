"""What an attack achieved, in shares with intervals, how far its points transfer, and a contact sheet."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from demur.attacks.core.attack_state import Trouble
from demur.metrics import Estimate, proportion
from demur.metrics.quantiles import median
from demur.pipeline.export.point_files import MEASURED, Flags, Points, answered_right, logits_of, read_arrays
from demur.pipeline.job import Job
from demur.pipeline.plan.conditions import Condition
from demur.records import groups
from demur.shapes import Images

Facts = Mapping[str, Any]


def figures(points: Points, condition: Condition) -> Facts:
    """Robust accuracy over all images, success over those that were right, sizes, cost, flags."""
    rows = points.table
    aimed = rows.filter(pl.col("target").is_not_null()) if condition.target else None
    return {
        "attack": condition.name,
        "sentence": condition.sentence,
        "norm": condition.norm,
        "eps": condition.severity or None,
        "keep": condition.keep,
        "target": condition.target,
        "n": len(rows),
        "right": int(points.right.sum()),
        "successful": int(points.successful.sum()),
        "robust_accuracy": share_facts(~points.fooled, rows),
        "success": share_facts(points.fooled[points.right], rows.filter(points.right)),
        "reached": None if aimed is None else share_facts((aimed["predicted"] == aimed["target"]).to_numpy(), aimed),
        "median_change": estimate_facts(_median_change(points, condition)),
        "forwards": int(rows["forwards"].sum()),
        "backwards": int(rows["backwards"].sum()),
        "flags": _flags(rows),
        "crashes": dict(rows["crash"].drop_nulls().value_counts().sort("crash").iter_rows()) if "crash" in rows else {},
    }


def share_facts(flags: Flags, rows: pl.DataFrame) -> Facts:
    """The share of rows that are flagged, with its interval, per image or per group."""
    return estimate_facts(proportion(flags, groups(rows)))


def estimate_facts(estimate: Estimate) -> Facts:
    """An estimate as JSON has it; what is undefined is null, with the reason."""
    ends = {name: getattr(estimate, name) for name in ("value", "low", "high")}
    return {
        **{name: value if math.isfinite(value) else None for name, value in ends.items()},
        "n": estimate.n,
        "unit": estimate.unit,
        "reason": estimate.reason,
    }


def _median_change(points: Points, condition: Condition) -> Estimate:
    """Of the images that were right; those that a search never flipped count as infinite."""
    if condition.norm not in MEASURED:
        return Estimate.undefined("the size of this change is not measured")
    searched = condition.keep == "nearest"
    kept = points.right if searched else points.successful
    rows = points.table.filter(kept)
    flipped = (rows["predicted"] != rows["label"]).to_numpy()
    sizes = rows[f"distance.{condition.norm}"].to_numpy().astype(np.float64)
    found = median(np.where(flipped, sizes, np.inf), groups(rows)) if len(rows) else Estimate.undefined("no images")
    if math.isinf(found.value):
        return Estimate.undefined("most images were never flipped", n=found.n, unit=found.unit)
    return found


def _flags(rows: pl.DataFrame) -> Facts:
    """How many rows each trouble befell; troubles nobody had are left out."""
    counts = {trouble.name: int((rows["flags"] & int(trouble) > 0).sum()) for trouble in Trouble}
    return {str(name).lower(): count for name, count in counts.items() if count}


Files = Sequence[tuple[Path, Path]]
"""Arrays and table of each source, in the order of the models."""


def matrix(condition: Condition, jobs: Sequence[Job], files: Files, advance: Callable[[], None]) -> Facts:
    """Rows are the models that were attacked, columns those that were run on its points.

    `robust_accuracy` is of all images, `success` of those the target model had right; `carried` is the share of the
    points that fooled the attacked model, on images that both models had right, that fool the target. The diagonal of
    the first two is each model's own.
    """
    tables = [pl.read_parquet(table) for _, table in files]
    right = [answered_right(table) for table in tables]
    cells: dict[str, list[list[Facts]]] = {name: [] for name in ("robust_accuracy", "success", "carried")}
    for source, (arrays, _) in enumerate(files):
        points = Points(read_arrays(arrays)["images"], tables[source])
        line: list[Mapping[str, Facts]] = []
        for target, job in enumerate(jobs):
            wrong = points.fooled if source == target else _wrong(condition, points, job, right[target])
            line.append(_cell(points, wrong, right[target]))
            advance()
        for name, rows in cells.items():
            rows.append([cell[name] for cell in line])
    return {"attack": condition.name, **cells}


def _cell(points: Points, wrong: Flags, right: Flags) -> Mapping[str, Facts]:
    """One source and one target, which answers the points wrong and had the clean images right."""
    rows, right_twice = points.table, points.successful & right
    return {
        "robust_accuracy": share_facts(~wrong, rows),
        "success": share_facts(wrong[right], rows.filter(right)),
        "carried": share_facts(wrong[right_twice], rows.filter(right_twice)),
    }


def _wrong(condition: Condition, points: Points, job: Job, right: Flags) -> Flags:
    """Which rows the target model gets wrong; a point larger than the attack's eps is not shown, its clean image is."""
    answers = logits_of(job.classifier, points.images, job.plan.batch).argmax(dim=1).numpy()
    return np.where(points.within(condition), answers != points.table["label"].to_numpy(), ~right)


SHOWN = 32
"""Images on a sheet."""

_ACROSS = 4
_SIDE = 64
_LINE, _GAP, _SEAM = 13, 6, 2
_WIDEST = 22

Pixels = NDArray[np.uint8]


def sheet(clean: Images, attacked: Images, captions: list[str]) -> bytes:
    """The PNG of a few images: 8 bits, enlarged by a whole number, so that every pixel is what it was.

    Differences are grey where nothing changed, and amplified alike on the whole sheet; the last line says how much.
    """
    factor = max(1, _SIDE // max(clean.shape[2:]))
    amplified = gain(clean, attacked)
    difference = 0.5 + amplified * (attacked - clean) / 2
    tiles = [_tiles(triple, factor) for triple in zip(clean, attacked, difference.clamp(0, 1), strict=True)]
    height, width = tiles[0].shape[0] + _LINE + _GAP, tiles[0].shape[1] + 2 * _GAP
    rows = -(-len(tiles) // _ACROSS)
    size = (width * min(_ACROSS, len(tiles)), rows * height + _LINE + 2 * _GAP)
    page = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default()
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left, top = number % _ACROSS * width + _GAP, number // _ACROSS * height + _GAP
        page.paste(Image.fromarray(tile), (left, top))
        draw.text((left, top + tile.shape[0]), caption, fill="black", font=font)
    said = f"clean, attacked, difference amplified {amplified / 2:.3g} times"
    draw.text((_GAP, rows * height + _GAP), said, fill="black", font=font)
    buffer = io.BytesIO()
    page.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def gain(clean: Images, attacked: Images) -> float:
    """What makes the largest change on a sheet span from grey to white or black."""
    largest = float((attacked - clean).abs().max())
    return 1 / largest if largest else 1.0


def caption(label: str, predicted: str) -> str:
    """What it is and what it is taken for, short enough for three small pictures."""
    said = f"{label[:_WIDEST]} as {predicted[:_WIDEST]}"
    return said.encode("latin-1", "replace").decode("latin-1")  # what the font that comes with Pillow can write


def _tiles(images: tuple[Images, ...], factor: int) -> Pixels:
    parts = [_pixels(image).repeat(factor, 0).repeat(factor, 1) for image in images]
    white = np.full((len(parts[0]), _SEAM, 3), 255, np.uint8)
    return np.concatenate([parts[0], white, parts[1], white, parts[2]], axis=1)


def _pixels(image: Images) -> Pixels:
    """Height, width and three colours; an image of two channels, or more than three, shows what it can."""
    array = (image * 255).round().numpy().astype(np.uint8)
    return np.moveaxis(array[:3] if len(array) >= 3 else array[[0, 0, 0]], 0, 2)
