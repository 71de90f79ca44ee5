"""The largest logit."""

from dataclasses import dataclass
from typing import ClassVar

from demur.evidence import Evidence
from demur.shapes import Scores


@dataclass(frozen=True, kw_only=True)
class MaxLogit:
    """The largest logit with its sign turned: high when no class is strongly claimed.

    Hendrycks et al. (2022), arXiv:1911.11132.
    """

    unit: ClassVar[str] = "logits"

    def __call__(self, evidence: Evidence) -> Scores:
        return -evidence.logits.double().amax(dim=1)
