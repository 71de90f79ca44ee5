"""Signals of how far an image's features lie from those of the fit split: neighbours, Mahalanobis, virtual logit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from demur.errors import InputError, missing_extra
from demur.evidence import Evidence
from demur.shapes import Features, Labels, Scores
from demur.signals import Needs


@dataclass(frozen=True, kw_only=True)
class KNN:
    """Distance to the k-th nearest reference feature on the unit sphere: high when no reference image is alike.

    Chord length, from 0 to 2. Labels play no part.

    Sun et al. (2022), arXiv:2204.06507.
    """

    unit: ClassVar[str] = "chord length"
    needs: ClassVar[Needs] = Needs(features=True)

    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"knn: `k` must be at least 1; got {self.k}.")

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "FittedKNN":  # noqa: ARG002 - labels play no part
        bank = torch.cat([_on_sphere(evidence.features.detach()) for evidence in reference])
        if len(bank) < self.k:
            raise InputError(
                f"`k` = {self.k} neighbours need as many reference images; there are {len(bank)}. Take a smaller k."
            )
        return FittedKNN(bank=bank, k=self.k)


@dataclass(frozen=True, eq=False)
class FittedKNN:
    """A bank of reference features (images, width) on the unit sphere."""

    unit: ClassVar[str] = KNN.unit

    bank: Features
    k: int

    def __call__(self, evidence: Evidence) -> Scores:
        exact = "donot_use_mm_for_euclid_dist"  # the faster way loses digits and depends on who shares the batch
        chords = torch.cdist(_on_sphere(evidence.features), self.bank, compute_mode=exact)
        return chords.topk(self.k, dim=1, largest=False).values[:, -1]


def _on_sphere(features: Features) -> Features:
    return normalize(features.double(), dim=1)


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


@dataclass(frozen=True, kw_only=True)
class ViM:
    """How strongly a virtual class outside the main space of the features is claimed: high when they leave that space.

    α·‖residual of h − o‖ − log Σₖ exp zₖ. o is where the linear head answers nothing; the main space holds the `dim`
    directions of largest spread around o (0: half the width, and no fewer than classes); α scales the residual to the
    largest logit, on average over the reference. Labels play no part.

    Wang et al. (2022), arXiv:2203.10807.
    """

    unit: ClassVar[str] = "logits"
    needs: ClassVar[Needs] = Needs(features=True)

    dim: int = 0

    def __post_init__(self) -> None:
        if self.dim < 0:
            raise InputError(f"vim: `dim` must be at least 0; got {self.dim}. 0 is half the width of the features.")

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "FittedViM":  # noqa: ARG002 - labels play no part
        batches = [(evidence.features.detach().double(), evidence.head) for evidence in reference]
        features = torch.cat([h for h, _ in batches])
        weight, bias = (part.double() for part in batches[0][1])
        dim = self._dim(*weight.shape)
        origin = -torch.linalg.pinv(weight) @ bias
        centred = features - origin
        _, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
        outside = axes[:, : len(axes) - dim]
        residual = (centred @ outside).norm(dim=1).mean()
        largest = (features @ weight.T + bias).amax(dim=1).mean()
        if not (residual > 0 and largest > 0):
            raise InputError(
                "the residual of the features and the largest logit must be positive on average over the reference, "
                f"for their ratio scales the signal; got {residual:.3g} and {largest:.3g}. Use knn or mahalanobis."
            )
        return FittedViM(weight=weight, bias=bias, origin=origin, outside=outside, alpha=float(largest / residual))

    def _dim(self, classes: int, width: int) -> int:
        """Directions of the main space; features hardly wider than the classes leave nothing outside it."""
        if width < 2 * classes:
            raise InputError(
                f"the features must be clearly wider than the classes, at least twice; got {width} features for "
                f"{classes} classes. What no class uses cannot be told from what one does: use knn or mahalanobis."
            )
        dim = self.dim or max(classes, width // 2)
        if not classes <= dim < width:
            raise InputError(f"`dim` must lie between the classes ({classes}) and the width ({width} − 1); got {dim}.")
        return dim


@dataclass(frozen=True, eq=False)
class FittedViM:
    """The head, where it answers nothing, and the directions (width, rest) outside the main space."""

    unit: ClassVar[str] = ViM.unit

    weight: Tensor
    bias: Tensor
    origin: Tensor
    outside: Tensor
    alpha: float

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"alpha": self.alpha, "dim": len(self.outside) - self.outside.shape[1]}

    def __call__(self, evidence: Evidence) -> Scores:
        h: Features = evidence.features.double()
        residual = ((h - self.origin) @ self.outside).norm(dim=1)
        return self.alpha * residual - (h @ self.weight.T + self.bias).logsumexp(dim=1)
