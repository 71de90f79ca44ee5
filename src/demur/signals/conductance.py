"""How much each feature map adds to the answer, and what that says of the answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Features, Flags, Labels, Scores
from demur.signals import GRADIENT, Needs
from demur.signals.error_detector import Detector, Estimator, FittedDetector
from demur.signals.regression import units_of

_ENOUGH = 10
"""Reference images of a class below which its maps are scaled as those of all classes are."""


@dataclass(frozen=True, kw_only=True)
class Conductance:
    """What feature maps add to the answer, scored by a learned detector: high when they add as for wrong answers.

    A map adds Σ ∂z/∂y·dy over its pixels y on the way from the origin (zeros at the model's entrance) to the image, z
    the logit of the answer. Without a `layer` the maps are the features before a linear head and the sum has a closed
    form; so it has for the layer that is averaged into them. Any other layer takes a path integral in `steps` (captum).
    The detector learns from (v − mean) / (max − min) of each map; with `by_class` mean and range are those of the class
    answered, which hides from it how the classes differ and was measured to find fewer errors.

    Wu et al. (2019), arXiv:1910.00387; conductance of Dhamdhere et al. (2018), arXiv:1805.12233.
    """

    unit: ClassVar[str] = "probability of an error"

    layer: str = ""
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
    def needs(self) -> Needs:
        """The closed form costs no pass of its own; whether a layer has one shows only in a forward pass."""
        path = (self.steps + 1) * GRADIENT + 1 if self.layer else 0.0
        return Needs(layers=(self.layer,) if self.layer else (), features=True, passes=path, fitting=path)

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "FittedConductance":
        maps, gaps, answers, classes = [], [], [], 0
        for evidence in reference:
            found = evidence.contributions(self.layer, self.steps)
            maps.append(found.maps.detach())
            gaps.append(found.gap.detach())
            answers.append(evidence.logits.argmax(dim=1))
            classes = evidence.logits.shape[1]
        values, given = torch.cat(maps), torch.cat(answers)
        scale = Scale.of(values, given, classes if self.by_class else 0)
        units, grouped = units_of(reference)
        detector = self.detector.fit(scale(values, given), given != labels, units if grouped else None)
        return FittedConductance(
            layer=self.layer, steps=self.steps, scale=scale, detector=detector, gap=float(torch.cat(gaps).abs().max())
        )


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
    """A detector over scaled contributions; `gap` is the largest completeness error met in fitting, in logits."""

    unit: ClassVar[str] = Conductance.unit

    layer: str
    steps: int
    scale: Scale
    detector: FittedDetector
    gap: float

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the detector learned from, and how complete the path integral is."""
        return {**self.detector.facts, "completeness_error": self.gap}

    def __call__(self, evidence: Evidence) -> Scores:
        maps = evidence.contributions(self.layer, self.steps).maps
        return self.detector(self.scale(maps, evidence.logits.argmax(dim=1)))

    def parts(self, evidence: Evidence) -> Mapping[str, Scores]:
        """How far what the maps add falls short of, or goes beyond, the logit they should add up to."""
        return {"completeness_error": evidence.contributions(self.layer, self.steps).gap}


def top_maps(maps: Features, answers: Labels, wrong: Flags, count: int) -> Tensor:
    """For each class the maps (classes, count) that matter to it most, strongest first; −1 for a class never met.

    They add most to right answers of the class, compared with the mean over classes.
    Wu et al. (2019), arXiv:1910.00387.

    Args:
        maps: what each map adds to the answer, (rows, maps).
        answers: the class answered, (rows,).
        wrong: which answers are wrong, (rows,).
        count: how many maps.
    """
    classes = range(int(answers.max()) + 1)
    right = [maps[(answers == k) & ~wrong] for k in classes]
    means = torch.stack([part.mean(dim=0) for part in right])
    strongest = (means - means.nanmean(dim=0)).nan_to_num(-torch.inf).topk(count, dim=1).indices
    met = torch.tensor([len(part) > 0 for part in right])
    return torch.where(met[:, None], strongest, -1)
