"""The largest logit as a share of the p-norm of all, with p given or tuned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from demur.errors import InputError
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.shapes import Labels, Scores
from demur.signals import Signal
from demur.signals.softmax_scores import MSP

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

    def __call__(self, evidence: Evidence) -> Scores:
        z = evidence.logits.double()
        centred = z - z.mean(dim=1, keepdim=True)
        largest = centred.amax(dim=1)
        if self.p == 0:
            return -largest
        size = centred.abs().amax(dim=1).clamp(min=_TINY)  # taken out, so that no power over- or underflows
        length = torch.linalg.vector_norm(centred / size[:, None], ord=self.p, dim=1).clamp(min=1)
        return -(largest / size) / length


@dataclass(frozen=True, kw_only=True)
class MaxLogitPNorm:
    """The largest centred logit over the p-norm of all, p tuned, sign turned: high when it does not stand out.

    The p from 0 to `largest` that ranks the errors among the reference images best, by AUROC; maximum softmax
    probability, where none ranks them better than that does or there is nothing to rank.

    Cattelan & Silva (2024), arXiv:2305.15508.
    """

    unit: ClassVar[str] = "share of the norm"

    largest: int = 9

    def __post_init__(self) -> None:
        if self.largest < 0:
            raise InputError(f"maxlogit_pnorm: `largest` must be at least 0; got {self.largest}.")

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "Tuned":
        candidates: list[Signal] = [MSP(), *(PNorm(p=p) for p in range(self.largest + 1))]
        scores, answers = [], []
        for evidence in reference:
            scores.append(torch.stack([signal(evidence) for signal in candidates]))
            answers.append(evidence.logits.argmax(dim=1))
        wrong = (torch.cat(answers) != labels).numpy()
        if wrong.all() or not wrong.any():
            return Tuned(chosen=MSP(), p=None)
        found = [auroc(uncertainty.numpy(force=True), wrong) for uncertainty in torch.cat(scores, dim=1)]
        best = max(range(len(candidates)), key=found.__getitem__)  # of equals the first, so msp before any p
        return Tuned(chosen=candidates[best], p=best - 1 if best else None)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The signal that was chosen; `p` is None where that is maximum softmax probability."""

    unit: ClassVar[str] = MaxLogitPNorm.unit

    chosen: Signal
    p: int | None

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"p": self.p}

    def __call__(self, evidence: Evidence) -> Scores:
        return self.chosen(evidence)
