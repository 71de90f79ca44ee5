"""Several classifiers as one: the mean of their probabilities."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from demur.classifier.bound_classifier import BoundClassifier
from demur.classifier.contract import Output
from demur.classifier.first_answer import made_up_images, part_that_counts
from demur.classifier.outputs import columns, to_logits
from demur.errors import ModelError
from demur.shapes import Images, Logits


class Member(nn.Module):
    """One model of an ensemble, from images in [0, 1] to logits: normalised by its own mean and deviation."""

    mean: Tensor
    std: Tensor
    identity: Tensor

    def __init__(self, classifier: BoundClassifier) -> None:
        super().__init__()
        contract, self.module = classifier.contract, classifier.as_module()
        channels = contract.input_shape[0]
        for name, values in (("mean", contract.mean or [0.0] * channels), ("std", contract.std or [1.0] * channels)):
            self.register_buffer(
                name, torch.tensor(values, dtype=classifier.dtype, device=classifier.device).view(1, -1, 1, 1)
            )
        digits = torch.tensor(list(bytes.fromhex(classifier.sha256)), dtype=torch.uint8)
        self.register_buffer("identity", digits)  # so that the hash of the ensemble follows what a member declares
        self.kind: Output = contract.kind
        self.part = _part(classifier)

    def forward(self, x: Images) -> Logits:
        """Logits (rows, classes), in single precision at least; a new tensor is given on, which a model may change."""
        found = to_logits(columns(self.module((x - self.mean) / self.std), self.part), self.kind)
        return found.to(torch.promote_types(found.dtype, torch.float32))


def _part(classifier: BoundClassifier) -> str:
    """The part of the model's answer that has one column per class."""
    contract = classifier.contract
    probe = made_up_images(contract.input_shape, classifier.device, classifier.dtype)
    with torch.no_grad():
        return part_that_counts(classifier.as_module()(classifier.prepare(probe)), len(probe), contract.part, contract)


class MeanProbability(nn.Module):
    """log of the mean over the members of their softmax probabilities, which as logits have that mean for softmax.

    Computed as log-mean-exp of the log-probabilities, exact where probabilities would round to 0, and differentiable
    through every member. Lakshminarayanan et al. (2017), arXiv:1612.01474.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Images) -> Logits:
        """Log-probabilities (rows, classes)."""
        return log_mean_softmax(torch.stack([member(x) for member in self.members]))


def log_mean_softmax(logits: Tensor) -> Tensor:
    """Log of the mean softmax, (rows, classes), of the logits of several members, (members, rows, classes)."""
    return logits.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(logits))


def ensemble(members: Sequence[BoundClassifier], name: str = "") -> BoundClassifier:
    """The classifier that answers with the mean probability of several, each with preprocessing of its own.

    It was trained on every image that a member was trained on.

    Raises:
        ModelError: fewer than two members, or members that differ in classes, input shape, precision or device.
    """
    if len(members) < 2:
        raise ModelError(f"an ensemble needs at least two models; got {len(members)}. Name the model itself.")
    first = members[0]
    for each in members[1:]:
        _check_alike(first, each)
    return BoundClassifier(
        MeanProbability([Member(each) for each in members]).eval(),
        classes=first.classes,
        input_shape=first.input_shape,
        name=name or f"ensemble of {len(members)}",
        learned_from=frozenset[str]().union(*(each.learned_from for each in members)),
        notes=tuple(dict.fromkeys(note for each in members for note in each.notes)),
    )


def _check_alike(first: BoundClassifier, other: BoundClassifier) -> None:
    pairs: dict[str, tuple[Any, Any]] = {
        "classes, in one order": (first.classes, other.classes),
        "input shape": (first.input_shape, other.input_shape),
        "precision": (first.dtype, other.dtype),
        "device": (first.device, other.device),
    }
    for what, (one, another) in pairs.items():
        if one != another:
            raise ModelError(
                f"the models of an ensemble must have the same {what}; {first.name} has {_as_text(one)} and "
                f"{other.name} {_as_text(another)}. Say of each what the images have, such as ?classes=… or ?size=…, "
                "or leave one out."
            )


def _as_text(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def member_layers(classifier: BoundClassifier) -> tuple[str, ...]:
    """The names of the layers that put out the logits of each member; empty where the model is no ensemble."""
    module = classifier.as_module()
    return tuple(f"members.{k}" for k in range(len(module.members))) if isinstance(module, MeanProbability) else ()
