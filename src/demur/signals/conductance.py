"""How much each feature map adds to the answer, and what that says of the answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from demur.classifier.channel_contributions import Contributions
from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Features, Labels, Scores
from demur.signals import GRADIENT, Needs
from demur.signals.class_maps import ClassMaps
from demur.signals.error_detector import Detector, FittedDetector
from demur.signals.estimator_slopes import Estimator
from demur.signals.regression import units_of

_ENOUGH = 10
"""Reference images of a class below which its maps are scaled as those of all classes are."""


@dataclass(frozen=True, kw_only=True)
class Conductance:
    """What feature maps add to the answer, scored by a learned detector: high when they add as for wrong answers.

    A map adds Σ ∂z/∂y·dy over its pixels y on the way from the origin (zeros at the model's entrance) to the image, z
    the logit of the answer. Without a `layer` the maps are the features before a linear head and the sum has a closed
    form; so it has for the layer that is averaged into them. Others take a path integral in `steps`, one for several
    `layers` at once. The detector learns from (v − mean) / (max − min) of each map; with `by_class` mean and range are
    those of the class answered, which hides from it how the classes differ and was measured to find fewer errors.

    The parts are how incomplete the sum is, and `class_maps`: what the maps add that matter most to the class answered,
    in standard deviations of right answers of that class; low where another class's maps made the answer.

    Wu et al. (2019), arXiv:1910.00387; conductance of Dhamdhere et al. (2018), arXiv:1805.12233.
    """

    made_of: ClassVar[str] = "maps"
    unit: ClassVar[str] = "probability of an error"

    layer: str = ""
    layers: tuple[str, ...] = ()
    steps: int = 10
    estimator: str | Estimator = "logistic"
    folds: int = 5
    by_class: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"conductance: `steps` of the path must be at least 1; got {self.steps}.")
        self.detector  # noqa: B018 — its own rules are checked when it is made

    @property
    def detector(self) -> Detector:
        """What learns from the maps."""
        return Detector(estimator=self.estimator, folds=self.folds)

    @property
    def of_layers(self) -> tuple[str, ...]:
        """The layers whose maps are read; none for the features."""
        return tuple(dict.fromkeys((*((self.layer,) if self.layer else ()), *self.layers)))

    @property
    def needs(self) -> Needs:
        """The closed form costs no pass of its own; whether a layer has one shows only in a forward pass."""
        path = (self.steps + 1) * GRADIENT if self.of_layers else 0.0
        return Needs(layers=self.of_layers, features=True, passes=path, fitting=path)

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "FittedConductance":
        maps, gaps, answers, classes = [], [], [], 0
        for evidence in reference:
            found = evidence.contributions(self.of_layers, self.steps)
            maps.append(_joined(found).detach())
            gaps.append(torch.stack([part.gap for part in found.values()], dim=1).detach())
            answers.append(evidence.logits.argmax(dim=1))
            classes = evidence.logits.shape[1]
        values, given, left = torch.cat(maps), torch.cat(answers), torch.cat(gaps)
        scale = Scale.of(values, given, classes if self.by_class else 0)
        units, grouped = units_of(reference)
        detector = self.detector.fit(scale(values, given), given != labels, units if grouped else None)
        risen = values.sum(dim=1) / left.shape[1] - left.mean(dim=1)
        return FittedConductance(
            layers=self.of_layers,
            steps=self.steps,
            scale=scale,
            detector=detector,
            gap=float(left.abs().max()),
            share=float(left.abs().mean() / risen.abs().mean()),
            class_maps=ClassMaps.of(values, given, given != labels, classes),
        )


def _joined(found: Mapping[str, Contributions]) -> Features:
    return torch.cat([part.maps for part in found.values()], dim=1)


@dataclass(frozen=True, eq=False)
class Scale:
    """(v − middle) / width, each (classes, maps) by the class answered, or (1, maps)."""

    middle: Tensor
    width: Tensor

    @classmethod
    def of(cls, values: Features, answers: Labels, classes: int = 0) -> "Scale":
        """Mean and max − min of each map; with `classes` of each class, unless it is seldom answered."""
        parts = [values[answers == k] for k in range(classes)] or [values]
        parts = [part if len(part) >= _ENOUGH else values for part in parts]
        width = torch.stack([part.amax(dim=0) - part.amin(dim=0) for part in parts])
        return cls(torch.stack([part.mean(dim=0) for part in parts]), torch.where(width > 0, width, 1.0))

    def __call__(self, values: Features, answers: Labels) -> Features:
        row = answers if len(self.middle) > 1 else torch.zeros_like(answers)
        return (values - self.middle[row]) / self.width[row]


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedConductance:
    """A detector over scaled contributions, and the maps that matter to each class.

    `gap` is the largest completeness error met in fitting, in logits, `share` their mean as a share of what the logits
    gain on average.
    """

    made_of: ClassVar[str] = Conductance.made_of
    unit: ClassVar[str] = Conductance.unit

    layers: tuple[str, ...]
    steps: int
    scale: Scale
    detector: FittedDetector
    gap: float
    share: float
    class_maps: ClassMaps

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the detector learned from, how complete the path integral is, and the maps of each class."""
        sums = {"completeness_error": self.gap, "completeness_share": self.share}
        return {**self.detector.facts, **sums, "class_maps": self.class_maps.facts}

    def __call__(self, evidence: Evidence) -> Scores:
        return self.of_parts({}, evidence)

    def surrogate(self, evidence: Evidence) -> Scores:
        """The score, with a gradient through the maps: exact in the closed form, else as if slopes stayed as they are.

        On a path a map's sum then changes by Σ ∂z/∂y·dy, with the slope at the image.
        """
        maps = _joined(evidence.contributions(self.layers, self.steps))
        if evidence.images.requires_grad and not maps.requires_grad:
            linear = [
                (slope * y).flatten(start_dim=2).sum(dim=2) if y.ndim == 4 else (slope * y).flatten(start_dim=1)
                for y, slope in evidence.slopes(self.layers).values()
            ]
            moving = torch.cat(linear, dim=1).cpu().double()
            maps = maps + (moving - moving.detach())
        return self.detector.surrogate(self.scale(maps, evidence.logits.argmax(dim=1)))

    def of_parts(self, parts: Mapping[str, Scores], evidence: Evidence) -> Scores:  # noqa: ARG002 — they say more, not all
        """The probability of an error, as the detector reads the maps."""
        maps = _joined(evidence.contributions(self.layers, self.steps))
        return self.detector(self.scale(maps, evidence.logits.argmax(dim=1)))

    def parts(self, evidence: Evidence) -> Mapping[str, Scores]:
        """How far what the maps add misses the gain of the logit, and what the maps of the class answered add."""
        found = evidence.contributions(self.layers, self.steps)
        several = {f"completeness_error {name}": part.gap for name, part in found.items()}
        gaps = several if len(found) > 1 else {"completeness_error": next(iter(found.values())).gap}
        return {**gaps, "class_maps": self.class_maps(_joined(found), evidence.logits.argmax(dim=1))}
