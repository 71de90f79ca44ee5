"""What is asked of a model before anything is measured on it, and the answers that go into the report."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from demur.audit.engine import Bench
from demur.classifier import check_labels
from demur.errors import DataError, ModelError

_PROBED = 512


@dataclass(frozen=True)
class Answer:
    """One check of the measurement: pass, warn or fail, and how many of how many."""

    name: str
    state: str
    sentence: str
    count: int
    of: int


def knock(bench: Bench) -> list[dict[str, Any]]:
    """Refuse a model or data that cannot be measured; say what was found of the rest.

    Raises:
        ModelError, DataError: the contract is broken, or the labels are not the model's.
    """
    _fit(bench)
    rows = _probe(bench)
    x, y = bench.load(rows)
    bench.classifier.check(x)
    with torch.no_grad():
        together = bench.classifier.logits(x)
        again = bench.classifier.logits(x)
        alone = torch.cat([bench.classifier.logits(x[i : i + 1]) for i in range(min(32, len(x)))])
    if not torch.isfinite(together).all():
        raise ModelError(
            "the model's outputs must be finite; some of the first images gave NaN or infinity. Check the weights."
        )
    check_labels(
        together.argmax(dim=1).cpu(), y.cpu(), bench.classifier.classes, trust_labels=bench.plan.model.trust_labels
    )
    return [asdict(answer) for answer in (_repeats(together, again), _alone(together[: len(alone)], alone))]


def _probe(bench: Bench) -> np.ndarray[Any, np.dtype[np.int64]]:
    readable = [row for row in range(len(bench.index)) if bench.index.errors[row] is None]
    spread = np.linspace(0, len(readable) - 1, min(_PROBED, len(readable))).astype(np.int64)
    return np.asarray(readable, dtype=np.int64)[np.unique(spread)]


def _fit(bench: Bench) -> None:
    model, data = bench.classifier, bench.source
    if tuple(model.input_shape) != tuple(data.input_shape):
        raise DataError(
            f"the model reads images of (channels, height, width) = {tuple(model.input_shape)} and {data.address} has "
            f"{tuple(data.input_shape)}. Name data of the model's shape, or the model that belongs to this data."
        )
    if len(model.classes) != len(data.classes):
        raise DataError(
            f"the model has {len(model.classes)} classes and {data.address} has {len(data.classes)}. "
            "Name data with the model's classes, or the model that belongs to this data."
        )
    if model.classes != data.classes and set(model.classes) == set(data.classes):
        k = next(k for k, pair in enumerate(zip(model.classes, data.classes, strict=True)) if len(set(pair)) == 2)
        raise DataError(
            f"the model and {data.address} must order their classes alike; class {k} is {model.classes[k]!r} to the "
            f"model and {data.classes[k]!r} to the data. Correct whichever is wrong, such as "
            f"?classes={','.join(model.classes)}."
        )


def _repeats(together: torch.Tensor, again: torch.Tensor) -> Answer:
    moved = int((together != again).any(dim=1).sum())
    state = "fail" if moved else "pass"
    said = "differ" if moved else "are the same"
    return Answer(
        "deterministic", state, f"Asked twice about the same images, the model's outputs {said}", moved, len(together)
    )


def _alone(together: torch.Tensor, alone: torch.Tensor) -> Answer:
    moved = int((together.argmax(dim=1) != alone.argmax(dim=1)).sum())
    drift = float((together - alone).abs().max())
    state = "fail" if moved else "warn" if drift > 1e-3 else "pass"
    said = f"An image gets the same answer alone as in a batch (logits differ by at most {drift:.1g})"
    return Answer(
        "alone or in a batch",
        state,
        said
        if not moved
        else f"An image alone is answered otherwise than in a batch (logits differ by up to {drift:.1g})",
        moved,
        len(alone),
    )
