"""What signals read of a batch while a guard is traced, and the signals that no graph can hold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from torch import Tensor, nn

from demur.classifier import BoundClassifier
from demur.classifier.hooks import kept_output, outputs_of
from demur.classifier.plain_module import PlainModule
from demur.errors import InputError, ModelError
from demur.shapes import Features, Images, Logits
from demur.signals import Signal
from demur.signals.activation_entropy import FittedActivationEntropy
from demur.signals.conductance import FittedConductance
from demur.signals.disagreement import MCDropout
from demur.signals.feature_squeezing import FeatureSqueezing
from demur.signals.label_change_rate import FittedLabelChangeRate
from demur.signals.odin import ODIN
from demur.signals.stack import FittedStack

OBSTACLES: Mapping[type[Any], str] = {
    FittedConductance: "its contributions need gradients and its detector is an estimator of scikit-learn",
    FittedLabelChangeRate: "it runs spoilt copies of the model until a rule says stop",
    FittedStack: "its curves are read off outside torch",
    MCDropout: "each image draws its own dropout from its bytes",
    ODIN: "it follows a gradient, and a graph has no backward pass",
}
"""Signals that cannot be a part of a graph, and why."""


def obstacle(signal: Signal) -> str:
    """Why a signal cannot be a part of a graph; empty where nothing is known that speaks against it."""
    if isinstance(signal, FittedActivationEntropy) and signal.detector is not None:
        return "its detector is an estimator of scikit-learn"
    if isinstance(signal, FeatureSqueezing) and signal.jpeg:
        return "JPEG is coded by Pillow"
    if isinstance(signal, FeatureSqueezing) and signal.resample:
        return "antialiased resizing is rounded otherwise by each runtime"
    return next((why for kind, why in OBSTACLES.items() if isinstance(signal, kind)), "")


def refusal(name: str, why: str) -> InputError:
    """The error that a signal cannot be a part of a graph."""
    return InputError(
        f"the signal {name!r} cannot be exported: {why}. Fit the guard with another signal, or use it as it is, by "
        "Guard.load."
    )


def check_signals(signals: Mapping[str, Signal]) -> None:
    """Refuse signals that no graph can hold, before anything is traced.

    Raises:
        InputError: there is one; it is named.
    """
    for name, signal in signals.items():
        why = obstacle(signal)
        if why:
            raise refusal(name, why)


class Tracer(nn.Module):
    """The classifier in tensor code, which shows its features and layers as well.

    A layer costs a pass of its own, whose nodes are those of the first one: a graph has them once.
    """

    def __init__(self, classifier: BoundClassifier) -> None:
        super().__init__()
        self.plain, self.classifier = PlainModule(classifier), classifier
        self.training = False

    def forward(self, images: Images) -> Logits:
        """Logits (rows, classes)."""
        return self.plain(images)

    def evidence(self, images: Images) -> "TracedEvidence":
        """What signals read of images."""
        with self.classifier.penultimate.read(self.plain.inner, images.shape[0]) as features:
            logits = self.plain(images)
            return TracedEvidence(tracer=self, images=images, logits=logits, penultimate=features())

    def activations(self, images: Images, layer: str) -> Tensor:
        """The output of a named layer, rows first."""
        with outputs_of(self.plain.inner, [layer], images.shape[0]) as kept:
            self.plain(images)
        return kept_output(kept, layer)


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedEvidence:
    """The part of `Evidence` that tensor code alone makes up: logits, features, layers, and answers to other images."""

    tracer: Tracer
    images: Images
    logits: Logits
    penultimate: Features | None

    @property
    def features(self) -> Features:
        """Penultimate features (rows, width)."""
        if self.penultimate is None:
            raise ModelError(
                "this model has no linear last layer whose input could serve as features. Name the layer whose output "
                "should: features='LAYER'."
            )
        return self.penultimate

    @property
    def head(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the linear last layer."""
        found = self.tracer.classifier.head
        if found is None:
            raise ModelError("this signal reads the linear last layer, and the model has none that was found.")
        return found

    def activations(self, layer: str) -> Tensor:
        """The output of a named layer, rows first."""
        return self.tracer.activations(self.images, layer)

    def logits_of(self, images: Images) -> Logits:
        """Logits of other images, one for each row."""
        return self.tracer(images)

    def answering(self, logits: Logits) -> "TracedEvidence":
        """The same images, had the model given these logits."""
        return replace(self, logits=logits)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"it reads `{name}` of the evidence, which tensor code alone does not make up")
