"""What the model answers when parts of it are left out at random."""

import math
from dataclasses import dataclass
from typing import ClassVar

from demur.errors import InputError, unknown
from demur.evidence import Evidence
from demur.shapes import Scores
from demur.signals import Needs
from demur.signals.probabilities import softmax_entropy

_SCORES = ("entropy", "mutual_information")


@dataclass(frozen=True, kw_only=True)
class MCDropout:
    """Entropy of the mean softmax over `n` passes with dropout: high when thinned nets are unsure or disagree.

    With `score` = "mutual_information" the mean entropy of the passes is subtracted, which leaves how far they
    disagree. Only dropout layers are random; each image draws from its own key. A net without any is refused.

    Gal & Ghahramani (2016), arXiv:1506.02142.
    """

    unit: ClassVar[str] = "nats"

    n: int = 20
    score: str = "entropy"

    def __post_init__(self) -> None:
        if self.n < 2:
            raise InputError(f"mc_dropout: `n` must be at least 2 passes; got {self.n}.")
        if self.score not in _SCORES:
            raise unknown("score of mc_dropout", self.score, _SCORES)

    @property
    def needs(self) -> Needs:
        return Needs(passes=float(self.n))

    def __call__(self, evidence: Evidence) -> Scores:
        log_p = evidence.dropout_logits(self.n, evidence.keys).double().log_softmax(dim=2)
        total = softmax_entropy(log_p.logsumexp(dim=0) - math.log(self.n))
        return total if self.score == "entropy" else total - softmax_entropy(log_p).mean(dim=0)
