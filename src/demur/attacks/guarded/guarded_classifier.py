"""A classifier and the scores that let its answer through, as an attacker sees them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from demur.attacks.core.losses import margin
from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.evidence import Evidence, SignalLike, Surrogated, scores_of, surrogate_of
from demur.shapes import Flags, Images, Labels, Scores

_TIE = 1e-3
"""The room of a score that is exactly its bound: it counts something, and counts do not move with rounding."""

_LEAST = 1e-12
"""The least room of any other score, which added to 1 still tells."""


@dataclass(frozen=True, eq=False)
class GuardedClassifier:
    """A classifier with the scores that let its answer through: the thing a guard is, as an attacker sees it.

    Attributes:
        classifier: the model.
        signals: ready (fitted) signals by name, as the audit and the run-time guard call them.
        bounds: an answer is given where every score is at most its bound, in the unit of the signal; NaN never is.
        layers: those whose activations the signals read, so that they come with the pass that all share.
        features: whether that pass keeps the features.
    """

    classifier: BoundClassifier
    signals: Mapping[str, SignalLike]
    bounds: Mapping[str, float]
    layers: tuple[str, ...] = ()
    features: bool = True

    def __post_init__(self) -> None:
        if not self.signals or set(self.signals) != set(self.bounds):
            raise InputError(
                "a guarded classifier has a bound for each of its signals, and one signal at least; got signals "
                f"{', '.join(self.signals) or 'none'} and bounds for {', '.join(self.bounds) or 'none'}."
            )
        for name, bound in self.bounds.items():
            if not math.isfinite(bound):
                raise InputError(
                    f"the bound of {name!r} must be finite; got {bound}. To let everything pass, write the largest "
                    "float, demur.policies.ACCEPT_ALL, or leave the signal out."
                )

    def evidence(self, images: Images) -> Evidence:
        """What the signals read of some images, which are in [0, 1] and where the model is."""
        return Evidence(self.classifier, images, self.layers, features=self.features, check=False)

    def scores(self, evidence: Evidence) -> Mapping[str, Scores]:
        """Each score, float64, by the code of the run-time guard; without gradient, and each computed once."""
        return {name: score.detach() for name, score in self._scores(evidence).items()}

    def surrogates(self, evidence: Evidence) -> Mapping[str, Scores]:
        """For each score what autograd is to follow in its place: the score itself, where that has a gradient.

        Zeros for rows whose logits are not finite.
        """
        stand_ins = {name: signal for name, signal in self.signals.items() if isinstance(signal, Surrogated)}
        own = scores_of({name: partial(surrogate_of, signal) for name, signal in stand_ins.items()}, evidence)
        finite = evidence.logits.detach().isfinite().all(dim=1)
        return {name: torch.where(finite, found, 0.0) for name, found in {**self._scores(evidence), **own}.items()}

    def _scores(self, evidence: Evidence) -> Mapping[str, Scores]:
        """The scores, with a graph where they have no stand-in and autograd is on."""
        read = {name: partial(_score, signal) for name, signal in self.signals.items()}
        return evidence.once(self, lambda: scores_of(read, evidence))

    def accepts(self, evidence: Evidence) -> Flags:
        """Rows whose answer is given: every score is at most its bound."""
        return self.accepted(self.scores(evidence))

    def accepted(self, scores: Mapping[str, Scores]) -> Flags:
        """The same of scores that are at hand."""
        return torch.stack([scores[name] <= bound for name, bound in self.bounds.items()]).all(dim=0)

    def excesses(self, scores: Mapping[str, Scores]) -> Tensor:
        """(score − bound) / |bound| of each row and signal, (rows, signals); an undefined score has the largest."""
        parts = [(scores[name] - bound) / self.scale(name) for name, bound in self.bounds.items()]
        return torch.stack(parts, dim=1).nan_to_num(nan=_MOST, posinf=_MOST, neginf=-_MOST).clamp(-_MOST, _MOST)

    def scale(self, name: str) -> float:
        """What a difference of scores is measured by: the size of the bound, 1 where that is 0."""
        return abs(self.bounds[name]) or 1.0

    def excess(self, scores: Mapping[str, Scores]) -> Scores:
        """The worst excess of each row over all scores, in the size of its bound; at most 0 where the answer passes."""
        return self.excesses(scores).amax(dim=1)

    def room(self, evidence: Evidence) -> Scores:
        """How far the worst score is from withholding the answer: positive exactly where the answer is given."""
        found = -self.excess(self.scores(evidence))
        given = torch.where(found <= 0, _TIE, found.clamp(min=_LEAST))
        return torch.where(self.accepts(evidence), given, torch.where(found >= 0, -_TIE, found.clamp(max=-_LEAST)))

    def success(self, evidence: Evidence, y: Labels) -> Scores:
        """A margin that is positive exactly where the answer is wrong and given: what `Objective(success=…)` takes.

        The smaller of the lead of the largest wrong logit, as a share of the largest logit, and of the room of the
        worst score, in the size of its bound.
        """
        return torch.minimum(lead(evidence, y), self.room(evidence))


_MOST = 1e6


def _score(signal: SignalLike, evidence: Evidence) -> Scores:
    """The score: where autograd is on for it to be followed as itself, or apart from autograd beside a stand-in."""
    apart = isinstance(signal, Surrogated)
    if torch.is_grad_enabled() and not apart:
        return surrogate_of(signal, evidence)
    with torch.no_grad():
        return signal(evidence.still() if apart else evidence)


def lead(evidence: Evidence, y: Labels) -> Scores:
    """How far the largest wrong logit leads the label's, as a share of the largest logit, float64, without gradient."""
    z = evidence.logits.detach().double().cpu()
    size = z.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    return (margin(z, y.cpu()) / size).nan_to_num(nan=-_MOST)
