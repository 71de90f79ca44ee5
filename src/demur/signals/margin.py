"""Gap between the two most likely classes."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.evidence import Evidence
from demur.shapes import Scores


@dataclass(frozen=True, kw_only=True)
class Margin:
    """One minus the gap between the two largest probabilities: high when a second class is nearly as likely.

    1 − (p₁ − p₂), from 0 to 1, computed as (1 − p₁) + p₂ so that confident images keep their order.

    Scheffer et al. (2001), "Active hidden Markov models for information extraction".
    """

    unit: ClassVar[str] = "probability"

    def __call__(self, evidence: Evidence) -> Scores:
        z, _ = evidence.logits.double().sort(dim=1, descending=True)
        rest = (z[:, 1:].logsumexp(dim=1) - z[:, 0]).sigmoid()
        second = torch.exp(z[:, 1] - z.logsumexp(dim=1))
        return rest + second
