"""What the attackers of a guard climb: the classifier first, then its scores, and both at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from demur.attacks.core.attack_state import Norm
from demur.attacks.core.losses import margin
from demur.attacks.core.projections import length, per_row, unit
from demur.attacks.guarded.guarded_classifier import GuardedClassifier, lead
from demur.evidence import Evidence
from demur.shapes import Images, Labels, Scores

Aim: TypeAlias = Callable[[Evidence, Labels], Scores]
"""(evidence, labels) → one value per row, higher = better for the attacker."""

Rule: TypeAlias = Literal["barrier", "orthogonal", "sum"]
"""How the gradients of classifier and scores are weighed."""

_CLEAR = 0.005
"""The share of the largest logit, or of the ball's radius, past the boundary from which on scores are moved.

On ordinary nets about the .05 logits of Bryniarski et al. (2022); as shares both are free of the size of logits.
"""

_BARRIER = 0.11
"""How far past the boundary, in radii of the ball, a barrier of weight one weighs as much as the scores."""

_FAR = 1e3
"""Radii past a boundary beyond which no distance is told."""

_ROOT = 0.25
"""The power at which right answers are told apart: single precision then tells logits of any size."""

_REACH = 0.05
"""Scores that lie within so much of the worst one, in the size of their bounds, are lowered together."""


def worth(guarded: GuardedClassifier, evidence: Evidence, y: Labels) -> Scores:
    """How good a point is for the attacker: from −1 to 0 while the answer is right, above 0 where it is wrong.

    Among wrong answers it falls with the worst excess of the scores over their bounds and is above 1 exactly where the
    answer is given. Of two logits that tie the first is the answer, as it is for the guard.
    """
    ahead = wrong_margin(evidence, y)
    wrong = (ahead > 0) | ((ahead == 0) & (evidence.logits.argmax(dim=1).cpu() != y.cpu()))
    return torch.where(wrong, 1 + squashed(guarded.room(evidence)), nearness(ahead))


def wrong_margin(evidence: Evidence, y: Labels) -> Scores:
    """The largest wrong logit minus the label's, float64, without gradient; very low where an answer is no number."""
    return margin(evidence.logits.detach().double().cpu(), y.cpu()).nan_to_num(nan=-1e300)


def squashed(values: Scores) -> Scores:
    """The same order between −1 and 1: v / (1 + |v|)."""
    return values / (1 + values.abs())


def nearness(values: Scores) -> Scores:
    """The order of margins, between −1 and 1, told apart by their ratios and so for logits of any size."""
    return values.sign() * squashed(values.abs() ** _ROOT)


@dataclass(frozen=True, eq=False)
class GuardLoss:
    """The worth of a point, with a gradient that leads to wrong answers first and then to scores below their bounds.

    Its values are of the real scores, so that the best point is the best; only its direction is of their surrogates.

    Attributes:
        guarded: what is attacked.
        rule: while the answer is right, `barrier` and `orthogonal` climb the margin of the classifier. Where it is
            wrong, `barrier` lowers the scores and keeps away from the boundary, the more the nearer it is, as if by
            weight·log distance; `orthogonal` lowers them once the margin is clear, and takes from either gradient what
            it has of the other. `sum` climbs margin − weight·scores everywhere, as an attack on a net with one class
            more, for what is withheld. Gradients have length one before they are weighed.
        weight: of the barrier, in units of .11 eps, or of the scores in the sum.
        eps: radius of the ball. Distances to the boundary, by the slope of the margin, are shares of it, so that no
            size of the logits matters.
        norm: what the ball is measured in.
        passes: how many passes the direction is a mean of; more than one where the model draws at random.

    Bryniarski et al. (2022), arXiv:2106.15023; the sum after Carlini & Wagner (2017), arXiv:1705.07263; the mean over
    the randomness of the model Athalye et al. (2018), arXiv:1707.07397.
    """

    guarded: GuardedClassifier
    rule: Rule = "barrier"
    weight: float = 1.0
    eps: float = 8 / 255
    norm: Norm = "linf"
    passes: int = 1

    def __call__(self, evidence: Evidence, y: Labels) -> Scores:
        """The worth of each row, float64."""
        if not torch.is_grad_enabled():
            return worth(self.guarded, evidence, y)
        return steered(
            worth(self.guarded, evidence, y), evidence, mean_of(self._direction, self.guarded, evidence, y, self.passes)
        )

    def _direction(self, evidence: Evidence, y: Labels) -> Images:
        """Where to go, (rows, channels, height, width), of length one."""
        ahead, low = margin(evidence.logits.cpu().double(), y.cpu()), -worst_surrogates(self.guarded, evidence)
        forward, lower = slope(ahead, evidence), slope(low, evidence)
        evidence.count(backwards=1)
        margins = per_row(self._past_the_boundary(wrong_margin(evidence, y), forward))
        if self.rule == "sum":
            return unit(unit(forward) + self.weight * unit(lower))
        if self.rule == "barrier":
            repelled = unit(_BARRIER * self.weight * unit(forward) + margins.clamp(min=0) * unit(lower))
            return torch.where(margins > 0, repelled, unit(forward))
        forward, lower = without(forward, lower), without(lower, forward)
        return unit(torch.where(margins > _CLEAR, lower, forward))

    def _past_the_boundary(self, ahead: Scores, slopes: Images) -> Scores:
        """How far a row is past the boundary as its slope has it, in radii of the ball, at most so many that count."""
        steepness = length(slopes, "l1" if self.norm == "linf" else "l2").double() * self.eps
        tiny = torch.finfo(torch.float32).tiny
        return (ahead.to(steepness) / steepness.clamp(min=tiny)).clamp(-_FAR, _FAR).to(slopes)


@dataclass(frozen=True, eq=False)
class KeptLoss:
    """How far the worst score is raised or lowered while the answer stays as it is; y is the answer to be kept.

    From −1 to 0 where the answer is another, above it where it is kept; above 1 where it is withheld when scores are
    raised, and where it is given when they are lowered.

    Galil & El-Yaniv (2021), arXiv:2110.13741.

    Attributes:
        guarded: what is attacked.
        raising: whether scores are raised or lowered.
        passes: how many passes the direction is a mean of.
    """

    guarded: GuardedClassifier
    raising: bool
    passes: int = 1

    def __call__(self, evidence: Evidence, y: Labels) -> Scores:
        """The value of each row, float64."""
        ahead, room = wrong_margin(evidence, y), self.guarded.room(evidence)
        values = torch.where(ahead < 0, 1 + squashed(-room if self.raising else room), nearness(-ahead))
        if not torch.is_grad_enabled():
            return values
        return steered(values, evidence, mean_of(self._direction, self.guarded, evidence, y, self.passes))

    def withheld(self, evidence: Evidence, y: Labels) -> Scores:
        """A margin that is positive exactly where the answer is kept and withheld."""
        return torch.minimum(-lead(evidence, y), -self.guarded.room(evidence))

    def _direction(self, evidence: Evidence, y: Labels) -> Images:
        up, ahead = worst_surrogates(self.guarded, evidence), margin(evidence.logits.cpu().double(), y.cpu())
        kept = lead(evidence, y) < -_CLEAR
        return unit(slope(torch.where(kept, up if self.raising else -up, -ahead), evidence))


def worst_surrogates(guarded: GuardedClassifier, evidence: Evidence) -> Scores:
    """The surrogates of the scores that are worst in each row, added up in the sizes of their bounds."""
    surrogates = guarded.surrogates(evidence)
    excesses = guarded.excesses(guarded.scores(evidence))
    worst = excesses >= excesses.amax(dim=1, keepdim=True) - _REACH
    sized = torch.stack([surrogates[name] / guarded.scale(name) for name in guarded.bounds], dim=1)
    return torch.where(worst, sized, 0.0).sum(dim=1)


def mean_of(direction: Aim, guarded: GuardedClassifier, evidence: Evidence, y: Labels, passes: int) -> Images:
    """The mean direction over several passes, which the evidence is told of.

    Each forward pass that a score makes beside the shared one counts as a backward pass too, which it is at most.
    """
    total = direction(evidence, y)
    for _ in range(1, passes):
        again = guarded.evidence(evidence.images)
        total = total + direction(again, y)
        evidence.spent += again.spent
    evidence.spent[1] += evidence.spent[0] - 1
    return total


def slope(values: Scores, evidence: Evidence) -> Images:
    """The gradient of each row's value with respect to its image; zeros where there is none, or no number."""
    x = evidence.images
    if not values.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(values.sum(), x, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x) if found is None else found.nan_to_num(0.0, 0.0, 0.0)


def without(one: Images, other: Images) -> Images:
    """What is left of the rows of one without their part along those of the other."""
    along = unit(other)
    return one - along * per_row((one * along).flatten(1).sum(dim=1))


def steered(values: Scores, evidence: Evidence, direction: Images) -> Scores:
    """Values whose gradient with respect to the images is a direction."""
    x = evidence.images
    return values.detach().to(x.device) + ((x - x.detach()) * direction.detach()).flatten(1).sum(dim=1)


def has_no_slope(guarded: GuardedClassifier, evidence: Evidence) -> Tensor:
    """Rows in which some surrogate has a gradient of zero everywhere."""
    flat = [length(slope(found, evidence), "linf") == 0 for found in guarded.surrogates(evidence).values()]
    return torch.stack(flat).any(dim=0)
