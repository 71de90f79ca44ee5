"""How far the members of an ensemble contradict each other."""

from dataclasses import dataclass
from typing import ClassVar

from demur.classifier.mean_probability import log_mean_softmax
from demur.evidence import Evidence
from demur.shapes import Scores
from demur.signals import Needs


@dataclass(frozen=True, kw_only=True)
class EnsembleDisagreement:
    """Mutual information between the answer and the member that gives it: high when members contradict each other.

    Entropy of the mean probability less the mean entropy of the members, from 0 to ln(members); members that are all
    unsure alike have none. Computed as the mean over members of Σₖ pₖ·(ln pₖ − ln p̄ₖ), which is the same and keeps
    small values. A model that is no ensemble is refused.

    Lakshminarayanan et al. (2017), arXiv:1612.01474; Depeweg et al. (2018), arXiv:1710.07283.
    """

    unit: ClassVar[str] = "nats"

    @property
    def needs(self) -> Needs:
        return Needs(passes=1.0, members=True)

    def __call__(self, evidence: Evidence) -> Scores:
        logits = evidence.member_logits.double()
        log_p = logits.log_softmax(dim=2)
        return (log_p.exp() * (log_p - log_mean_softmax(logits))).sum(dim=2).mean(dim=0).clamp(min=0)
