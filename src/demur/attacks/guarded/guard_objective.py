"""What the attackers of a guard climb: the classifier first, then its scores, and both at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from demur.attacks.core.losses import margin
from demur.attacks.core.projections import length, per_row, unit
from demur.attacks.guarded.guarded_classifier import GuardedClassifier, lead
from demur.evidence import Evidence
from demur.shapes import Images, Labels, Scores

Aim: TypeAlias = Callable[[Evidence, Labels], Scores]
"""(evidence, labels) → one value per row, higher = better for the attacker."""

Rule: TypeAlias = Literal["select", "orthogonal", "sum"]
"""Whose gradient is followed: one of the two, one without what it has of the other, or both."""

_CLEAR = 0.01
"""The lead, as a share of the largest logit, from which on a wrong answer is left alone and the scores are climbed."""

_REACH = 0.05
"""Scores that lie within so much of the worst one, in the size of their bounds, are lowered together."""


def worth(guarded: GuardedClassifier, evidence: Evidence, y: Labels) -> Scores:
    """How good a point is for the attacker: from −1 to 0 while the answer is right, above 0 where it is wrong.

    Among wrong answers it falls with the worst excess of the scores over their bounds and is above 1 exactly where the
    answer is given.
    """
    ahead = lead(evidence, y)
    return torch.where(ahead > 0, 1 + squashed(guarded.room(evidence)), squashed(ahead).clamp(max=0))


def squashed(values: Scores) -> Scores:
    """The same order between −1 and 1: v / (1 + |v|)."""
    return values / (1 + values.abs())


@dataclass(frozen=True, eq=False)
class GuardLoss:
    """The worth of a point, with a gradient that leads to wrong answers first and then to scores below their bounds.

    Its values are of the real scores, so that the best point is the best; only its direction is of their surrogates.

    Attributes:
        guarded: what is attacked.
        rule: `select` climbs the margin of the classifier while the answer is right and lowers the scores where it is
            wrong; `orthogonal` takes from either what it has of the other; `sum` climbs margin − weight·scores, each
            gradient of length one, as an attack on a net with a class more for what is withheld does.
        weight: of the scores in the sum.
        passes: how many passes the direction is a mean of; more than one where the model draws at random.

    Bryniarski et al. (2022), arXiv:2106.15023; the sum after Carlini & Wagner (2017), arXiv:1705.07263; the mean over
    the randomness of the model Athalye et al. (2018), arXiv:1707.07397.
    """

    guarded: GuardedClassifier
    rule: Rule = "select"
    weight: float = 1.0
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
        wrong = lead(evidence, y) > _CLEAR
        if self.rule == "select":
            return unit(slope(torch.where(wrong, low, ahead), evidence))
        forward, lower = slope(ahead, evidence), slope(low, evidence)
        if self.rule == "sum":
            return unit(unit(forward) + self.weight * unit(lower))
        forward, lower = without(forward, lower), without(lower, forward)
        return unit(torch.where(per_row(wrong.to(forward.device)), lower, forward))


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
        ahead, room = lead(evidence, y), self.guarded.room(evidence)
        values = torch.where(ahead < 0, 1 + squashed(-room if self.raising else room), -squashed(ahead))
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
    """The mean direction over several passes, which the evidence is told of."""
    total = direction(evidence, y)
    for _ in range(1, passes):
        again = guarded.evidence(evidence.images)
        total = total + direction(again, y)
        evidence.spent += again.spent
        evidence.count(backwards=1)
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
