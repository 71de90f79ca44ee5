"""How far the features are from those of reference images."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import normalize

from demur.errors import InputError
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
