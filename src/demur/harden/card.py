"""The card of a trained model, for people."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import torch

from demur.adapters.manifest import manifest_of
from demur.classifier import Classifier
from demur.data import Index
from demur.harden.classwise import Scores
from demur.harden.split import Split
from demur.metrics import Estimate

OWN = "The data came with this split. Measured below are rows of its held-out part that an audit calls `tune`."
DRAWN = (
    "demur set aside 60 % to learn from, whole groups and duplicates together, by a hash of their content. Measured "
    "below are rows of the rest that an audit calls `tune`; those it certifies and tests on were not looked at."
)
NOTHING = "Nothing was measured: the data has no rows to be looked at before an audit. Run `demur audit`."


def card(told: Mapping[str, str], classifier: Classifier, weights: Path, index: Index, parts: Split,
         found: Scores | None) -> str:  # fmt: skip
    """The card; `told` has the address, the data, the recipe and the seed."""
    manifest = manifest_of(weights)
    template = (files("demur.harden") / "card.md").read_text(encoding="utf-8")
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
        measured=NOTHING if found is None else measured(found),
    )


def measured(found: Scores) -> str:
    """Accuracy, and a table of the classes."""
    accuracy = found.accuracy
    head = (
        f"**{percent(accuracy)} right** on {accuracy.n:,} {accuracy.unit}s set aside, with 95 % intervals, the "
        f"{accuracy.unit} as the unit."
    )
    rows = [
        f"| {one.name} | {one.n:,} | {percent(one.precision)} | {percent(one.recall)} | {percent(one.f1)} |"
        for one in found.classes
    ]
    return "\n".join(
        [head, "", "| class | images | precision | recall | F1 |", "| --- | --- | --- | --- | --- |", *rows]
    )


def percent(share: Estimate) -> str:
    """A share in per cent with its interval.

    >>> percent(Estimate(value=0.5, low=0.4, high=0.6, n=100))
    '50.0 % (40.0 to 60.0)'
    """
    if share.value != share.value:
        return f"– ({share.reason})"
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
