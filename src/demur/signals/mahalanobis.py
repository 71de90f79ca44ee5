"""How far the features are from the middle of every class."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.errors import missing_extra
from demur.evidence import Evidence
from demur.shapes import Features, Labels, Scores
from demur.signals import Needs

_TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class Mahalanobis:
    """Distance of the features to the nearest class mean, spread taken into account: high when no class is near.

    min over classes of (h − μ)ᵀΣ⁻¹(h − μ); Σ is shared, and shrunk as Ledoit & Wolf (2004) do, so few images are
    enough. With `relative` the same distance to all classes taken as one is subtracted, Ren et al. (2021),
    arXiv:2106.09022. A class without reference images is left out.

    Lee et al. (2018), arXiv:1807.03888.
    """

    unit: ClassVar[str] = "squared standard deviations"
    needs: ClassVar[Needs] = Needs(features=True)

    relative: bool = False

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "FittedMahalanobis":
        features = torch.cat([evidence.features.detach() for evidence in reference]).double()
        present, position = torch.unique(labels, return_inverse=True)
        means = torch.stack([features[labels == label].mean(dim=0) for label in present])
        background = features.mean(dim=0, keepdim=True)
        return FittedMahalanobis(
            classes=_Gaussians.around(means, features - means[position]),
            background=_Gaussians.around(background, features - background) if self.relative else None,
        )


@dataclass(frozen=True, eq=False)
class _Gaussians:
    """Means (classes, width), whitened, and the whitening (width, width) of the spread they share."""

    means: Features
    whitening: Tensor

    @classmethod
    def around(cls, means: Features, deviations: Features) -> "_Gaussians":
        try:
            from sklearn.covariance import ledoit_wolf
        except ImportError:
            raise missing_extra("the signal mahalanobis", "signals") from None
        spread = torch.from_numpy(ledoit_wolf(deviations.numpy(), assume_centered=True)[0])
        variances, axes = torch.linalg.eigh(spread)
        floor = variances[-1] * 1e-12  # a direction in which nothing varies says nothing
        whitening = axes * torch.where(variances > floor, variances.clamp(min=_TINY).rsqrt(), 0)
        return cls(means @ whitening, whitening)

    def nearest(self, features: Features) -> Scores:
        exact = "donot_use_mm_for_euclid_dist"  # the faster way loses digits and depends on who shares the batch
        return torch.cdist(features @ self.whitening, self.means, compute_mode=exact).square().amin(dim=1)


@dataclass(frozen=True, eq=False)
class FittedMahalanobis:
    """The classes as they were met; `background` is all of them taken as one."""

    unit: ClassVar[str] = Mahalanobis.unit

    classes: _Gaussians
    background: _Gaussians | None

    def __call__(self, evidence: Evidence) -> Scores:
        h = evidence.features.double()
        near = self.classes.nearest(h)
        return near if self.background is None else near - self.background.nearest(h)
