"""What searches, maps and norms leave beside the rows: confidence along rays, sanity of maps, pictures, norms."""

from collections.abc import Sequence
from typing import Any

import torch

from demur.attacks.objective import Objective
from demur.attacks.ray import Ray, follow
from demur.audit.conditions import Condition
from demur.audit.engine import Bench, Rows
from demur.audit.folder import Folder
from demur.audit.looking import clean_logits, maps_of
from demur.audit.tasks import searched_rows
from demur.audit.thumbs import webp
from demur.explain.overlay import Pixels, overlay
from demur.explain.randomised import FAILS, against, randomised
from demur.lipschitz.facts import lipschitz_facts
from demur.records import write_atomically

_OCTAVES = 17
"""From the cap down to 2⁻¹⁷ of it, 0.002/255 of the pixel range: undefended nets of large images flip below 0.1/255."""

_SANITY = 32
_PICTURES = 4
_CHOSEN_FROM = 128


def curve_facts(bench: Bench, found: Sequence[Condition]) -> list[dict[str, Any]]:
    """The label's probability along each ray of [epsilon], from no change to the cap, of the first few images."""
    rows = searched_rows(bench.index, bench.plan.conditions.attacked, bench.plan.epsilon.curves)
    rays = [condition for condition in found if isinstance(condition.attack, Ray) and condition.region is None]
    return [_curve(bench, condition, rows) for condition in rays]


def _curve(bench: Bench, condition: Condition, rows: Rows) -> dict[str, Any]:
    ray = condition.attack
    assert isinstance(ray, Ray)
    x, y = bench.load(rows)
    cap = ray.reach(x[0].numel())
    eps = torch.cat([torch.zeros(1), cap * 2 ** torch.linspace(-_OCTAVES, 0, 2 * _OCTAVES + 1)])
    confidence, standing = follow(
        ray, Objective(bench.classifier, ray.loss), x, y, bench.keys(rows, condition.name), eps, batch=bench.plan.batch
    )
    return {
        "condition": condition.name,
        "eps": eps.tolist(),
        "sample_ids": [bench.index.sample_ids[row] for row in rows],
        "labels": y.tolist(),
        "confidence": [[float(f"{p:.6g}") for p in row] for row in confidence.tolist()],
        "standing": standing.tolist(),
    }


def sanity_facts(bench: Bench, found: Sequence[Condition]) -> list[dict[str, Any]]:
    """How each map of a few images correlates with that of the same net with random weights; null where undefined."""
    rows = searched_rows(bench.index, bench.plan.conditions.attacked, min(_SANITY, bench.plan.where.images))
    x, _ = bench.load(rows)
    classes = clean_logits(bench, x).argmax(dim=1).to(x.device)
    other, facts = randomised(bench.classifier), []
    for condition in (each for each in found if each.map is not None):
        assert condition.map is not None
        alike = against(condition.map, bench.classifier, other, x, classes, bench.keys(rows, condition.name))
        known = [None if value != value else float(f"{value:.6g}") for value in alike.tolist()]
        ids = [bench.index.sample_ids[row] for row in rows]
        facts.append({"map": condition.name, "sample_ids": ids, "correlation": known, "limit": FAILS})
    return facts


def overlay_facts(bench: Bench, folder: Folder, found: Sequence[Condition]) -> dict[str, list[dict[str, str]]]:
    """Pictures of each map over the same few images, half of them answered wrong as far as there are such."""
    rows = searched_rows(bench.index, bench.plan.conditions.attacked, min(_CHOSEN_FROM, bench.plan.where.images))
    x, y = bench.load(rows)
    answers = clean_logits(bench, x).argmax(dim=1).to(y.device)
    right = answers == y
    chosen = torch.cat([flags.nonzero()[:_PICTURES, 0] for flags in (right, ~right)]).tolist()
    for number, at in enumerate(chosen):
        write_atomically(folder.path / "thumbs" / f"map-{number}.webp", webp(x[at].cpu()))
    facts: dict[str, list[dict[str, str]]] = {}
    for kind, name in enumerate(condition.name for condition in found if condition.map is not None):
        heats = maps_of(bench, name, x[chosen], answers[chosen], rows[chosen])
        facts[name] = [
            _picture(bench, folder, rows[at], f"map-{number}", kind, overlay(x[at], heat))
            for number, (at, heat) in enumerate(zip(chosen, heats, strict=True))
        ]
    return facts


def _picture(bench: Bench, folder: Folder, row: int, stem: str, kind: int, drawn: Pixels) -> dict[str, str]:
    file = f"{stem}-{kind}.webp"
    write_atomically(folder.path / "thumbs" / file, webp(torch.from_numpy(drawn).permute(2, 0, 1) / 255))
    return {"sample_id": bench.index.sample_ids[row], "image": f"{stem}.webp", "overlay": file}


def norm_facts(bench: Bench) -> dict[str, Any]:
    """Norms of the layers and of the Jacobian at the first few images."""
    rows = searched_rows(bench.index, bench.plan.conditions.attacked, int(bench.plan.lipschitz.images or 0))
    x, y = bench.load(rows)
    ids = [bench.index.sample_ids[row] for row in rows]
    return lipschitz_facts(bench.classifier, x, y, ids, batch=bench.plan.batch)
