"""What an audit leaves beside the rows: confidence along rays, sanity of maps, pictures, norms."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image

from demur.attacks.core.objective import Objective
from demur.attribution.overlay import Pixels, overlay
from demur.attribution.weight_randomisation import FAILS, correlation_with_random, with_random_weights
from demur.lipschitz.local_slopes import lipschitz_facts
from demur.metrics.confident_learning import suspects
from demur.pipeline.job import IndexRows, Job
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.run.attribution_rows import clean_logits, maps_of
from demur.pipeline.run.clean_rows import stored_logits
from demur.pipeline.run.run_writer import RunWriter
from demur.shapes import Images

_GALLERY = 24
_SIDE = 112
_MOST = 6_000
_SHOWN, _FAMILIES = 3, 4


def save_thumbs(job: Job, folder: RunWriter, clean: pl.DataFrame) -> None:
    """Write `thumbs/<n>.webp` and `facts/gallery.json` for the wrong clean answers with the least msp uncertainty."""
    worst = (
        clean.with_row_index("row")
        .filter(pl.col("error").is_null() & (pl.col("predicted") != pl.col("label")))
        .sort("signal.msp", "sample_id")
        .head(_GALLERY)
    )
    rows: Sequence[int] = worst["row"].to_list()
    if rows:
        images, _ = job.load(rows)
        folder.write({f"thumbs/{number}.webp": webp(image) for number, image in enumerate(images.cpu())})
    folder.write_json("facts/gallery.json", worst["sample_id"].to_list())


def save_suspects(job: Job, folder: RunWriter, clean: pl.DataFrame) -> None:
    """Write `thumbs/label-<n>.webp` and `facts/suspects.json`: images with the likeliest wrong labels."""
    answered = clean.with_row_index("row").filter(pl.col("error").is_null())
    logits = stored_logits(job, folder.path, clean)
    found, suggestions = suspects(logits, answered["label"].to_numpy(), _GALLERY)
    chosen = answered[found]
    if len(chosen):
        images, _ = job.load(chosen["row"].to_list())
        folder.write({f"thumbs/label-{number}.webp": webp(image) for number, image in enumerate(images.cpu())})
    pairs = zip(chosen["sample_id"], suggestions.tolist(), strict=True)
    folder.write_json("facts/suspects.json", [{"sample_id": name, "suggestion": k} for name, k in pairs])


def save_corruption_thumbs(job: Job, folder: RunWriter, row: int) -> None:
    """Write `thumbs/original.webp`, `thumbs/<family>.webp` and `facts/corruptions.json`: one image under each family.

    Each is shown at the severity nearest to 3 that the plan has; nothing is written for fewer than four families.
    """
    chosen: dict[str, Condition] = {}
    for condition in (each for each in job.conditions if each.kind == "corruption"):
        nearest = chosen.get(condition.family, condition)
        if condition.severity and abs(condition.severity - _SHOWN) <= abs(nearest.severity - _SHOWN):
            chosen[condition.family] = condition
    if len(chosen) < _FAMILIES:
        return
    x, _ = job.load([row])
    pictures = {"original": x[0]}
    for name, condition in chosen.items():
        assert condition.corruption is not None
        pictures[name] = condition.corruption(x, job.keys([row], condition.name))[0]
    folder.write({f"thumbs/{name}.webp": webp(picture.cpu()) for name, picture in pictures.items()})
    thumbs = {family: f"{family}.webp" for family in chosen}
    facts = {"sample_id": job.index.sample_ids[row], "original": "original.webp", "thumbs": thumbs}
    folder.write_json("facts/corruptions.json", facts)


def webp(image: Images) -> bytes:
    """At most 6 kB: enlarged without smoothing when tiny, and coded more coarsely until it fits.

    Of two channels the first is shown, of more than three the first three.
    """
    array = (image.clamp(0, 1) * 255).round().numpy().astype(np.uint8)
    pixels = array[0] if len(array) < 3 else np.moveaxis(array[:3], 0, 2)
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


_OCTAVES = 17
"""From the cap down to 2⁻¹⁷ of it, 0.002/255 of the pixel range: undefended nets of large images flip below 0.1/255."""

_SANITY = 32
_PICTURES = 4
_CHOSEN_FROM = 128


def curve_facts(job: Job) -> list[dict[str, Any]]:
    """The label's probability along each ray of [epsilon], from no change to the cap, of the first few images."""
    rows = job.first_rows(job.plan.epsilon.curves)
    rays = [condition for condition in job.sections if condition.line is not None and condition.region is None]
    return [_curve(job, condition, rows) for condition in rays]


def _curve(job: Job, condition: Condition, rows: IndexRows) -> dict[str, Any]:
    attack = condition.attack
    assert attack is not None
    assert attack.line is not None
    x, y = job.load(rows)
    cap = attack.line.reach(x[0].numel())
    eps = torch.cat([torch.zeros(1), cap * 2 ** torch.linspace(-_OCTAVES, 0, 2 * _OCTAVES + 1)])
    objective = Objective(job.classifier, attack.loss)
    confidence, standing = attack.line.follow(
        objective, x, y, job.keys(rows, condition.name), eps, batch=job.plan.batch
    )
    return {
        "condition": condition.name,
        "eps": eps.tolist(),
        "sample_ids": [job.index.sample_ids[row] for row in rows],
        "labels": y.tolist(),
        "confidence": [[float(f"{p:.6g}") for p in row] for row in confidence.tolist()],
        "standing": standing.tolist(),
    }


def sanity_facts(job: Job) -> list[dict[str, Any]]:
    """How each map of a few images correlates with that of the same net with random weights; null where undefined."""
    rows = job.first_rows(min(_SANITY, job.plan.attribution.images))
    x, _ = job.load(rows)
    classes = clean_logits(job, x).argmax(dim=1).to(x.device)
    other, facts = with_random_weights(job.classifier), []
    for condition in (each for each in job.conditions if each.map is not None):
        assert condition.map is not None
        alike = correlation_with_random(
            condition.map, job.classifier, other, x, classes, job.keys(rows, condition.name)
        )
        correlations = [None if value != value else float(f"{value:.6g}") for value in alike.tolist()]
        ids = [job.index.sample_ids[row] for row in rows]
        facts.append({"map": condition.name, "sample_ids": ids, "correlation": correlations, "limit": FAILS})
    return facts


def overlay_facts(job: Job, folder: RunWriter) -> dict[str, list[dict[str, str]]]:
    """Pictures of each map over the same few images, half of them answered wrong as far as there are such."""
    rows = job.first_rows(min(_CHOSEN_FROM, job.plan.attribution.images))
    x, y = job.load(rows)
    answers = clean_logits(job, x).argmax(dim=1).to(y.device)
    right = answers == y
    chosen = torch.cat([flags.nonzero()[:_PICTURES, 0] for flags in (right, ~right)]).tolist()
    folder.write({f"thumbs/map-{number}.webp": webp(x[at].cpu()) for number, at in enumerate(chosen)})
    facts: dict[str, list[dict[str, str]]] = {}
    for kind, name in enumerate(condition.name for condition in job.conditions if condition.map is not None):
        heats = maps_of(job, name, x[chosen], answers[chosen], rows[chosen])
        facts[name] = [
            _picture(job, folder, rows[at], f"map-{number}", kind, overlay(x[at], heat))
            for number, (at, heat) in enumerate(zip(chosen, heats, strict=True))
        ]
    return facts


def _picture(job: Job, folder: RunWriter, row: int, stem: str, kind: int, drawn: Pixels) -> dict[str, str]:
    file = f"{stem}-{kind}.webp"
    folder.write({f"thumbs/{file}": webp(torch.from_numpy(drawn).permute(2, 0, 1) / 255)})
    return {"sample_id": job.index.sample_ids[row], "image": f"{stem}.webp", "overlay": file}


def norm_facts(job: Job) -> dict[str, Any]:
    """Norms of the layers and of the Jacobian at the first few images."""
    rows = job.first_rows(int(job.plan.lipschitz.images or 0))
    x, y = job.load(rows)
    ids = [job.index.sample_ids[row] for row in rows]
    return lipschitz_facts(job.classifier, x, y, ids, batch=job.plan.batch)
