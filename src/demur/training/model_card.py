"""A trained model for people and for programs: its card, its weights file, its accuracy class by class."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.adapters.weights import manifest_of
from demur.classifier import BoundClassifier
from demur.data import Index
from demur.files import write_atomically
from demur.metrics import Estimate, proportion
from demur.training.training_task import TrainingSplit


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class among judged images.

    Attributes:
        name: the class.
        n: images of the class.
        precision: right among the images called so.
        recall: right among the images of the class.
        f1: harmonic mean of the two.
    """

    name: str
    n: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All classes: the share of right answers, and each class in the order of its id."""

    accuracy: Estimate
    classes: tuple[ClassScore, ...]


def scores(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str], groups: NDArray[Any] | None = None
) -> Scores:
    """Scores with 95 % intervals, per image or, where `groups` is given, over whole groups."""
    each = (_score(name, predicted == k, labels == k, groups) for k, name in enumerate(names))
    return Scores(accuracy=proportion(predicted == labels, groups), classes=tuple(each))


def _score(name: str, called: NDArray[np.bool_], true: NDArray[np.bool_], groups: NDArray[Any] | None) -> ClassScore:
    """F1 is 2J / (1 + J) of the share J of hits among the images that are or were called so, and so is its interval.

    Jaccard (1912), "The distribution of the flora in the alpine zone", for J.
    """

    def share(among: NDArray[np.bool_]) -> Estimate:
        return proportion((called & true)[among], None if groups is None else groups[among])

    overlap = share(called | true)
    value, low, high = (_harmonic(edge) for edge in (overlap.value, overlap.low, overlap.high))
    f1 = replace(overlap, value=value, low=low, high=high)
    return ClassScore(name=name, n=int(true.sum()), precision=share(called), recall=share(true), f1=f1)


def _harmonic(overlap: float) -> float:
    return 2 * overlap / (1 + overlap)


OWN = "The data came with this split. Measured below are rows of its held-out part that an audit calls `tune`."
DRAWN = (
    "demur set aside 60 % to learn from, whole groups and duplicates together, by a hash of their content. Measured "
    "below are rows of the rest that an audit calls `tune`; those it certifies and tests on were not looked at."
)
NOTHING = "Nothing was measured: the data has no rows to be looked at before an audit. Run `demur audit`."


def card(told: Mapping[str, str], classifier: BoundClassifier, weights: Path, index: Index, parts: TrainingSplit,
         found: Scores | None) -> str:  # fmt: skip
    """The card; `told` has address, data, recipe, seed, processes, the course, and the files of curve and figure."""
    manifest = manifest_of(weights)
    template = (files("demur.training") / "card.md").read_text(encoding="utf-8")
    return template.format(
        **told,
        name=classifier.name,
        parameters=f"{classifier.parameters:,}",
        shape="×".join(map(str, classifier.input_shape)),
        size=f"{weights.stat().st_size:,}",
        sha256=_digest(weights),
        images=len(index),
        data_sha256=index.sha256,
        learned=len(parts.learned),
        manifest=manifest.name,
        manifest_sha256=_digest(manifest),
        split=OWN if parts.own else DRAWN,
        threads=torch.get_num_threads(),
        versions=f"Python {platform.python_version()}, torch {torch.__version__}",
        version=version("demur"),
        measured=NOTHING if found is None else accuracy_line(found),
    )


def accuracy_line(found: Scores) -> str:
    """Accuracy, and a table of the classes."""
    accuracy = found.accuracy
    head = (
        f"**{card_percent(accuracy)} right** on {accuracy.n:,} {accuracy.unit}s set aside, with 95 % intervals, the "
        f"{accuracy.unit} as the unit."
    )
    rows = [
        f"| {one.name} | {one.n:,} | {' | '.join(map(card_percent, (one.precision, one.recall, one.f1)))} |"
        for one in found.classes
    ]
    return "\n".join(
        [head, "", "| class | images | precision | recall | F1 |", "| --- | --- | --- | --- | --- |", *rows]
    )


def card_percent(share: Estimate) -> str:
    """A share in per cent with its interval.

    >>> card_percent(Estimate(value=0.5, low=0.4, high=0.6, n=100))
    '50.0 % (40.0 to 60.0)'
    """
    if share.value != share.value:
        return f"– ({share.reason})"
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_model(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the tensors and the text beside them, atomically."""
    from safetensors.torch import save

    write_atomically(path, _sorted_header(save(dict(state), dict(metadata))))


def _sorted_header(content: bytes) -> bytes:
    """The library writes metadata in another order each time; the format lets them be sorted."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]
