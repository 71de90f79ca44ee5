"""Four attackers of a guard, from the one that knows nothing of it to the one that knows it all, and two on trust."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from demur.attacks.apgd import APGD
from demur.attacks.core.attack import check_gradients
from demur.attacks.core.attack_state import Norm
from demur.attacks.core.harness import Stepwise, run
from demur.attacks.core.hyperparameters import check_count, check_eps, check_norm, check_steps
from demur.attacks.core.objective import Objective, OfEvidence
from demur.attacks.core.projections import project
from demur.attacks.guarded.guard_objective import Aim, GuardLoss, KeptLoss, Rule, worth
from demur.attacks.guarded.guard_points import GuardAttackOutcome, better_of, judged
from demur.attacks.guarded.guard_steps import GuardAscent, GuardSquares
from demur.attacks.guarded.guarded_classifier import GuardedClassifier
from demur.attacks.minimal_norm import FMN
from demur.errors import InputError
from demur.evidence import Evidence
from demur.randomness import Keys
from demur.shapes import Flags, Images, Labels, Scores

__all__ = ["ATTACKERS", "GuardAttackOutcome", "attack_confidence", "attack_guard", "force_abstention"]

ATTACKERS = ("minimal", "confident", "joint", "score_free")
"""The attackers of a guard in the order of what they know of it."""

WEIGHINGS: tuple[tuple[Rule, float, float], ...] = (
    ("barrier", 1.0, 1.0),
    ("orthogonal", 1.0, 0.25),
    ("barrier", 0.3, 0.25),
    ("sum", 1.0, 0.5),
)
"""How the joint attacker weighs classifier and scores, one after the other on rows that still stand: rule, weight, and
the first step as a share of eps. Each begins at the best point so far. On a plane behind a linear score they end .3 %
from the optimum of linear programming on average, 1.3 % at most; one that only selects stops far from it."""

_MINIMAL_STEPS, _SQUARES = 40, 4
_BEFORE = 0.97
"""The share of the way to the nearest wrong answer at which the answer is still what it was."""


def attack_guard(
    guarded: GuardedClassifier,
    x: Images,
    y: Labels,
    keys: Keys,
    *,
    eps: float,
    norm: Norm = "linf",
    steps: int = 50,
    restarts: int = 1,
    batch: int = 128,
    passes: int | None = None,
    oblivious: Mapping[str, Images] | None = None,
) -> Mapping[str, GuardAttackOutcome]:
    """What four attackers find in the ball round each image, by name, in the order of what they know of the guard.

    `minimal` looks for the smallest change to a wrong answer and knows of no guard; neither does `confident`, which
    climbs the cross-entropy to the end. `joint` begins at the better of their points and climbs classifier and scores
    by their gradients, or those of surrogates, so that it is never weaker than they are. `score_free` begins there too
    and follows the answers of the scores alone, by squares at random: where it finds more than `joint`, the surrogates
    mislead.

    Args:
        guarded: what is attacked.
        x: clean images in [0, 1].
        y: true labels.
        keys: one key per row; results do not depend on batch size or order.
        eps: radius of the ball, a fraction of the [0, 1] pixel range.
        norm: what the ball is measured in.
        steps: of each gradient search; the search without takes four times as many.
        restarts: of the search for confident wrong answers.
        batch: rows per pass.
        passes: how many passes each gradient is a mean of; by default 1, or 8 where the model draws at random.
        oblivious: the points of `minimal` and `confident`, such as those of another guard of the same model, which
            knowing nothing of it are the same; by default they are searched.

    Raises:
        InputError: a number is out of its range, or there is not one label and one key for each image.
        ModelError: the model has no gradients to follow, or does not show the signals what they read.
    """
    ball = _Ball(guarded, x, y, keys, eps, norm, batch)
    check_steps(steps)
    many, given = _passes(guarded, passes), oblivious or {}
    minimal = ball.everyone(given["minimal"]) if "minimal" in given else ball.minimal()
    confident = ball.everyone(given["confident"]) if "confident" in given else ball.confident(steps, restarts)
    seeds = joint = better_of(minimal, torch.arange(len(x)), confident)
    ascent = GuardAscent(eps=eps, norm=norm, steps=steps)
    for number, (rule, weight, stride) in enumerate(WEIGHINGS):
        loss = GuardLoss(guarded, rule=rule, weight=weight, eps=eps, norm=norm, passes=many)
        rows = joint.wrong if number else torch.ones_like(joint.wrong)  # the others only weigh scores anew
        joint = ball.further(joint, rows, loss, replace(ascent, stride=stride), f"joint {number}")
    squares = GuardSquares(eps=eps, norm=norm, steps=_SQUARES * steps)
    free = ball.further(seeds, torch.ones_like(seeds.wrong), GuardLoss(guarded), squares, "score free")
    return dict(zip(ATTACKERS, (minimal, confident, joint, free), strict=True))


def force_abstention(
    guarded: GuardedClassifier,
    x: Images,
    y: Labels,
    keys: Keys,
    *,
    eps: float,
    norm: Norm = "linf",
    steps: int = 50,
    batch: int = 128,
    passes: int | None = None,
    minimal: Images | None = None,
) -> GuardAttackOutcome:
    """Right answers that are made to be withheld, though they stay right; other rows stay as they are.

    Rows that succeed are not `accepted` and not `wrong`.

    Args:
        guarded: what is attacked.
        x: clean images in [0, 1].
        y: true labels.
        keys: one key per row; results do not depend on batch size or order.
        eps: radius of the ball, a fraction of the [0, 1] pixel range.
        norm: what the ball is measured in.
        steps: of each search.
        batch: rows per pass.
        passes: how many passes each gradient is a mean of; by default 1, or 8 where the model draws at random.
        minimal: the points of `minimal` in this ball or a larger one; by default they are searched.

    Raises:
        InputError: a number is out of its range, or there is not one label and one key for each image.
        ModelError: the model has no gradients to follow, or does not show the signals what they read.
    """
    ball = _Ball(guarded, x, y, keys, eps, norm, batch)
    check_steps(steps)
    loss = KeptLoss(guarded, raising=True, passes=_passes(guarded, passes))
    ascent = GuardAscent(eps=eps, norm=norm, steps=steps)
    clean = ball.judged(x, torch.arange(len(x)), loss, y)
    found = clean
    if minimal is None:
        nearest = ball.minimal()
        minimal, found = nearest.x, clean.costing(torch.arange(len(x)), nearest.forwards, nearest.backwards)
    for start in (ball.x, ball.near_the_boundary(minimal)):
        rows = (~clean.wrong & found.accepted).nonzero()[:, 0]
        found = ball.climbed(found, rows, start[rows], loss, loss.withheld, y, ascent, "abstention")
    return found


def attack_confidence(
    guarded: GuardedClassifier,
    x: Images,
    y: Labels,
    keys: Keys,
    *,
    eps: float,
    norm: Norm = "linf",
    steps: int = 50,
    batch: int = 128,
    passes: int | None = None,
) -> GuardAttackOutcome:
    """Right answers made as unsure, and wrong ones as sure, as can be, while every answer stays what it is.

    Accuracy is as before and the order of the scores is not: Galil & El-Yaniv (2021), arXiv:2110.13741.

    Args:
        guarded: what is attacked.
        x: clean images in [0, 1].
        y: true labels.
        keys: one key per row; results do not depend on batch size or order.
        eps: radius of the ball, a fraction of the [0, 1] pixel range.
        norm: what the ball is measured in.
        steps: of the search.
        batch: rows per pass.
        passes: how many passes each gradient is a mean of; by default 1, or 8 where the model draws at random.

    Raises:
        InputError: a number is out of its range, or there is not one label and one key for each image.
        ModelError: the model has no gradients to follow, or does not show the signals what they read.
    """
    ball = _Ball(guarded, x, y, keys, eps, norm, batch)
    check_steps(steps)
    ascent, many = GuardAscent(eps=eps, norm=norm, steps=steps), _passes(guarded, passes)
    answers = ball.answers()
    found = ball.judged(x, torch.arange(len(x)), partial(worth, guarded), y)
    for raising in (True, False):
        loss = KeptLoss(guarded, raising=raising, passes=many)
        rows = ((answers == y) == raising).cpu().nonzero()[:, 0]
        if len(rows):
            clean = ball.judged(x[rows], rows, loss, answers[rows])
            found = found.taking(torch.ones(len(rows), dtype=torch.bool), rows, clean)
            found = ball.climbed(found, rows, x[rows], loss, _never, answers, ascent, "confidence")
    return found


class _Ball:
    """The rows, and how far each may be moved."""

    def __init__(
        self, guarded: GuardedClassifier, x: Images, y: Labels, keys: Keys, eps: float, norm: Norm, batch: int
    ) -> None:
        check_norm(norm)
        check_eps(eps, norm)
        check_count("batch", batch)
        if not len(x) or not len(x) == len(y) == len(keys):
            raise InputError(
                f"one label and one key for each image, and one image at least: got {len(x)} images, {len(y)} labels "
                f"and {len(keys)} keys."
            )
        check_gradients(APGD(eps=eps, norm=norm), Objective(guarded.classifier))
        self.guarded, self.x, self.y, self.keys = guarded, x, y, keys
        self.eps, self.norm, self.batch = eps, norm, batch

    def minimal(self) -> GuardAttackOutcome:
        """The smallest change to a wrong answer, cut where the ball ends."""
        found = FMN(norm=self.norm, steps=_MINIMAL_STEPS, growth=0.2).execute(
            Objective(self.guarded.classifier, "margin"),
            self.x,
            self.y,
            self.keys.named("minimal"),
            keep="nearest",
            batch=self.batch,
        )
        outcome = self.everyone(found.x)
        return outcome.costing(torch.arange(len(self.x)), found.forwards.cpu(), found.backwards.cpu())

    def confident(self, steps: int, restarts: int) -> GuardAttackOutcome:
        """The largest loss of the classifier inside the ball."""
        found = APGD(eps=self.eps, norm=self.norm, steps=steps, restarts=restarts).execute(
            Objective(self.guarded.classifier, "cross_entropy"),
            self.x,
            self.y,
            self.keys.named("confident"),
            keep="worst",
            batch=self.batch,
        )
        outcome = self.everyone(found.x)
        return outcome.costing(torch.arange(len(self.x)), found.forwards.cpu(), found.backwards.cpu())

    def further(
        self, before: GuardAttackOutcome, among: Flags, loss: Aim, attack: Stepwise, name: str
    ) -> GuardAttackOutcome:
        """Of some rows those without success so far, attacked from where they stand; of each the better point."""
        rows = (among & ~before.found).nonzero()[:, 0]
        return self.climbed(before, rows, before.x[rows], loss, self.guarded.success, self.y, attack, name)

    def climbed(
        self,
        before: GuardAttackOutcome,
        rows: Tensor,
        begin: Images,
        loss: Aim,
        success: OfEvidence,
        goal: Labels,
        attack: Stepwise,
        name: str,
    ) -> GuardAttackOutcome:
        """Some rows attacked from the points where they begin; of each the better point."""
        if not len(rows):
            return before
        guarded = self.guarded
        found = run(
            attack,
            Objective(guarded.classifier, loss, success, features=guarded.features, layers=guarded.layers),
            self.x[rows],
            goal[rows],
            self.keys.rows(rows.tolist()).named(name),
            keep="worst",
            batch=self.batch,
            begin=begin,
        )
        outcome = self.judged(found.x, rows, loss, goal[rows])
        outcome = outcome.costing(torch.arange(len(rows)), found.forwards.cpu(), found.backwards.cpu())
        return better_of(before, rows, outcome)

    def near_the_boundary(self, minimal: Images) -> Images:
        """Almost the nearest wrong answer, inside the ball."""
        return (self.x + _BEFORE * (self.cut(minimal) - self.x)).clamp(0, 1)

    def cut(self, points: Images) -> Images:
        """A point of every row, cut where the ball ends."""
        radius = torch.full((len(self.x),), self.eps, dtype=self.x.dtype, device=self.x.device)
        return project(points.to(self.x), self.x, radius, self.norm)

    def answers(self) -> Labels:
        """What the classifier says of the clean images."""
        with torch.no_grad():
            parts = [self.guarded.classifier.logits(part).argmax(dim=1) for part in torch.split(self.x, self.batch)]
        return torch.cat(parts)

    def judged(self, points: Images, rows: Tensor, value: Aim, goal: Labels) -> GuardAttackOutcome:
        """What the guard says of points of some rows."""
        return judged(
            self.guarded,
            points,
            self.x[rows],
            self.y[rows],
            eps=self.eps,
            norm=self.norm,
            batch=self.batch,
            value=value,
            goal=goal,
        )

    def everyone(self, points: Images) -> GuardAttackOutcome:
        """What the guard says of a point of every row, cut where the ball ends."""
        return self.judged(self.cut(points), torch.arange(len(self.x)), partial(worth, self.guarded), self.y)


def _never(evidence: Evidence, y: Labels) -> Scores:  # noqa: ARG001 — a margin of success takes both
    """No point is enough, so that the search goes on to its end."""
    return torch.full((len(evidence),), -1.0, dtype=torch.float64)


def _passes(guarded: GuardedClassifier, passes: int | None) -> int:
    """How many passes a gradient is a mean of."""
    if passes is None:
        return 1 if guarded.classifier.capabilities.deterministic else _DRAWS
    check_count("passes", passes)
    return passes


_DRAWS = 8
"""Passes that a gradient is a mean of where two passes of the model differ."""
