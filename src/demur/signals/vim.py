"""A virtual class for what the features show and no class can use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Features, Labels, Scores
from demur.signals import Needs


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
