"""Points that an attacker of a guard found, judged by the scores themselves, and the better of two of each row."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from demur.attacks.core.attack_state import Norm, Outcome
from demur.attacks.core.best_points import inside_ball
from demur.attacks.core.projections import length, per_row
from demur.attacks.guarded.guard_objective import Aim, has_no_slope
from demur.attacks.guarded.guarded_classifier import GuardedClassifier
from demur.shapes import Flags, Images, Labels, Scores


@dataclass(frozen=True, eq=False)
class GuardAttackOutcome:
    """What one attacker of a guard did to each row, in the order given; judged on the real scores of a fresh pass.

    Attributes:
        x: the kept point, inside the ball.
        predicted: the answer there.
        wrong: whether it is not the label.
        accepted: whether every score is at most its bound there, so that the answer is given.
        scores: each score there, by the name of its signal, float64.
        distance: of the point from the clean image, a fraction of the [0, 1] pixel range, in the norm of the ball.
        forwards: forward passes that the row cost.
        backwards: backward passes that it cost.
        zero_score_gradient: rows in which the surrogate of some score has a gradient of zero everywhere at the point.
        surrogate_gap: what each surrogate has more than its score at the point, in the unit of the signal.
        worth: how good the point is for the attacker, the order by which the best is kept: right answers lie below 0,
            wrong ones above, and above 1 those that are given.
    """

    x: Images
    predicted: Labels
    wrong: Flags
    accepted: Flags
    scores: Mapping[str, Scores]
    distance: Scores
    forwards: Tensor
    backwards: Tensor
    zero_score_gradient: Flags
    surrogate_gap: Mapping[str, Scores]
    worth: Scores

    @property
    def found(self) -> Flags:
        """Rows whose answer is wrong and is given."""
        return self.wrong & self.accepted

    def taking(self, better: Flags, rows: Tensor, other: "GuardAttackOutcome") -> "GuardAttackOutcome":
        """The same with some rows of another outcome, which is of `rows` of these, in place of their own."""
        changes: dict[str, Any] = {}
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Tensor):
                changes[each.name] = _put(mine, rows[better], theirs[better])
            else:
                changes[each.name] = {name: _put(mine[name], rows[better], theirs[name][better]) for name in mine}
        return replace(self, **changes)

    def costing(self, rows: Tensor, forwards: Tensor, backwards: Tensor) -> "GuardAttackOutcome":
        """The same with passes more for some rows."""
        return replace(
            self,
            forwards=self.forwards.index_add(0, rows, forwards.to(self.forwards)),
            backwards=self.backwards.index_add(0, rows, backwards.to(self.backwards)),
        )


def _put(values: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    return values.index_copy(0, rows.to(values.device), new.to(values))


def better_of(before: GuardAttackOutcome, rows: Tensor, found: GuardAttackOutcome) -> GuardAttackOutcome:
    """Of each row the point that is worth more to the attacker, at the cost of both."""
    better = found.worth > before.worth[rows]
    kept = before.taking(better, rows, found)
    kept = replace(kept, forwards=before.forwards, backwards=before.backwards)
    return kept.costing(rows, found.forwards, found.backwards)


def judged(
    guarded: GuardedClassifier,
    points: Outcome | Images,
    x: Images,
    y: Labels,
    *,
    eps: float,
    norm: Norm,
    batch: int,
    value: Aim,
    goal: Labels,
) -> GuardAttackOutcome:
    """What the guard says of some points, by passes of their own; a point outside the ball goes back to its image.

    Args:
        guarded: what was attacked.
        points: the images, or what an attack says of them.
        x: clean images in [0, 1].
        y: true labels.
        eps: radius of the ball, a fraction of the [0, 1] pixel range.
        norm: what the ball is measured in.
        batch: rows per pass.
        value: how good a point is for the attacker.
        goal: the labels (rows,) that `value` is given: the true ones, or the answers to be kept.
    """
    reached = points if isinstance(points, Tensor) else points.x
    inside = inside_ball(reached, x, torch.full((len(x),), eps, dtype=x.dtype, device=x.device), norm)
    at = torch.where(per_row(inside), reached, x)
    pairs = zip(torch.split(at, batch), torch.split(goal, batch), strict=True)
    parts = [_judge(guarded, images, labels, value) for images, labels in pairs]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    none = torch.zeros(len(x), dtype=torch.int32)
    outcome = GuardAttackOutcome(
        x=at,
        predicted=found["predicted"],
        wrong=found["predicted"] != y.cpu(),
        accepted=found["accepted"],
        scores={name: found[f"score {name}"] for name in guarded.signals},
        distance=length(at - x, norm).cpu(),
        forwards=found["forwards"],
        backwards=found["backwards"],
        zero_score_gradient=found["flat"],
        surrogate_gap={name: found[f"gap {name}"] for name in guarded.signals},
        worth=found["worth"],
    )
    spent = (none, none) if isinstance(points, Tensor) else (points.forwards.cpu(), points.backwards.cpu())
    return outcome.costing(torch.arange(len(x)), *spent)


def _judge(guarded: GuardedClassifier, x: Images, goal: Labels, value: Aim) -> Mapping[str, Tensor]:
    with torch.no_grad():
        evidence = guarded.evidence(x)
        scores = guarded.scores(evidence)
        values, accepted = value(evidence, goal).cpu(), guarded.accepts(evidence)
    with torch.enable_grad(), guarded.classifier.frozen():
        second = guarded.evidence(x.detach().requires_grad_())
        flat = has_no_slope(guarded, second)
        surrogates = {name: each.detach() for name, each in guarded.surrogates(second).items()}
    return {
        "predicted": evidence.logits.argmax(dim=1),
        "accepted": accepted,
        "worth": values,
        "flat": flat.cpu(),
        "forwards": (evidence.spent[0] + second.spent[0]).int(),
        "backwards": torch.full((len(x),), len(guarded.signals), dtype=torch.int32),
        **{f"score {name}": each for name, each in scores.items()},
        **{f"gap {name}": surrogates[name] - scores[name] for name in scores},
    }
