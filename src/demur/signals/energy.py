"""Free energy of the logits."""

import math
from dataclasses import dataclass
from typing import ClassVar

from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Scores


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Free energy of the logits: high when no class claims the image.

    −T·log Σₖ exp(zₖ/T).

    Liu et al. (2020), arXiv:2010.03759.
    """

    unit: ClassVar[str] = "logits"

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise InputError(f"energy: `temperature` must be positive and finite; got {self.temperature}.")

    def __call__(self, evidence: Evidence) -> Scores:
        return -self.temperature * (evidence.logits.double() / self.temperature).logsumexp(dim=1)
