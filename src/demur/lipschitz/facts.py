"""What an audit writes down about how fast a model's answer can change."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from demur.classifier import Classifier
from demur.lipschitz.bound import Bound, upper_bound
from demur.lipschitz.local import local_norms
from demur.shapes import Images, Labels, Logits


def lipschitz_facts(
    classifier: Classifier, images: Images, labels: Labels, sample_ids: Sequence[str], batch: int = 64
) -> dict[str, Any]:
    """Norms of layers, the network's upper bound, and of each image the local norm and the margin, ready for JSON.

    From L2 of pixels in [0, 1] to L2 of logits. `margins` are the largest minus the second largest logit, None where
    the answer is wrong; an image keeps its answer within margin/(√2·upper), Tsuzuku et al. (2018), arXiv:1802.04034.
    """
    parts = [part.to(classifier.device) for part in torch.split(images, batch)]
    with torch.no_grad():
        logits = [classifier.logits(part) for part in parts]
    margins = torch.cat([_margins(*pair) for pair in zip(logits, torch.split(labels, batch), strict=True)])
    bound = upper_bound(classifier)
    return {
        "layers": _layers(bound),
        "upper": bound.upper if bound.upper is None else _number(bound.upper),
        "reason": bound.reason,
        "sample_ids": list(sample_ids),
        "lower": [_number(value) for part in parts for value in local_norms(classifier, part).tolist()],
        "margins": [_number(value) for value in margins.tolist()],
    }


def _layers(bound: Bound) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "layers": list(row.piece.layers),
            "kind": row.kind,
            "norm": _number(bound.norms[row.piece].value),
            "iterations": bound.norms[row.piece].iterations,
            "converged": bound.norms[row.piece].converged,
        }
        for row in bound.rows
    ]


def _margins(logits: Logits, labels: Labels) -> Tensor:
    """NaN where the answer is wrong."""
    best = logits.double().topk(2, dim=1).values
    right = logits.argmax(dim=1) == labels.to(logits.device)
    return torch.where(right, best[:, 0] - best[:, 1], torch.nan)


def _number(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None
