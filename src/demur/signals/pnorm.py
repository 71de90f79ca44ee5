"""The largest logit as a share of the length of all."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Scores

_TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class PNorm:
    """The largest centred logit over the p-norm of all, sign turned: high when it does not stand out among the others.

    −max zᶜ / ‖zᶜ‖ₚ with zᶜ the logits minus their mean; 0 where all are equal; `p` = 0 leaves the length as it is.

    Cattelan & Silva (2024), arXiv:2305.15508.
    """

    unit: ClassVar[str] = "share of the norm"

    p: int = 5

    def __post_init__(self) -> None:
        if self.p < 0:
            raise InputError(f"pnorm: `p` must be at least 0; got {self.p}. The authors use 5, or tune 0 to 9.")

    def __call__(self, seen: Evidence) -> Scores:
        z = seen.logits.double()
        centred = z - z.mean(dim=1, keepdim=True)
        largest = centred.amax(dim=1)
        if self.p == 0:
            return -largest
        size = centred.abs().amax(dim=1).clamp(min=_TINY)  # taken out, so that no power over- or underflows
        length = torch.linalg.vector_norm(centred / size[:, None], ord=self.p, dim=1).clamp(min=1)
        return -(largest / size) / length
