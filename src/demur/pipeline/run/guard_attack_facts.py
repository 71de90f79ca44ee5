"""What attackers of the guard find in an audit, as it is left beside the rows, one file for each size."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import isfinite, isnan
from operator import or_
from typing import Any

import torch
from torch import Tensor

from demur.attacks.guarded.attackers import attack_confidence, attack_guard, force_abstention
from demur.attacks.guarded.guard_points import GuardAttackOutcome
from demur.attacks.guarded.guarded_classifier import GuardedClassifier
from demur.pipeline.drawn_rows import attacked_rows
from demur.pipeline.job import Job
from demur.policies import CERTIFIED_POLICIES, CertifiedPolicy, load_policy
from demur.policies.site_certificate import Sited
from demur.randomness import Keys
from demur.shapes import Images, Labels
from demur.signals import LOGITS, needs_of

NAME = "guard_attack"

ALPHAS = (1.0, 0.5, 0.25, 0.125)
"""Shares of each size within which right answers are made to be withheld, the largest first."""

_USUAL = 8 / 255


def guard_attack_sizes(job: Job) -> tuple[float, ...]:
    """The sizes in L∞ that the plan names, else that of its attack that keeps the worst point, or its largest."""
    found = [each for each in job.conditions if each.kind == "attack" and each.norm == "linf" and each.severity]
    worst = [each.severity for each in found if each.keep == "worst"]
    return job.plan.guard_attack.eps or tuple(worst[:1]) or (max((each.severity for each in found), default=_USUAL),)


def certified_policy(entries: Iterable[Mapping[str, Any]]) -> tuple[str, CertifiedPolicy] | None:
    """The first policy with a guarantee among those that were fitted, and its name; None where none was issued."""
    for entry in entries:
        policy = load_policy(entry["policy"]) if "policy" in entry else None
        if isinstance(policy, CERTIFIED_POLICIES):
            return entry["name"], policy
    return None


def no_attack(job: Job, policy: CertifiedPolicy) -> str | None:
    """Why a guard cannot be attacked here; None where it can."""
    rows = attacked_rows(job.index, int(job.plan.guard_attack.images or 0))
    if not any(job.index.splits[row] == "test" for row in rows):
        return "there are no test images, and no others can judge a threshold that was fixed by them"
    if isinstance(policy, Sited):
        return f"it has a threshold for each {policy.column}, and attackers are given one"
    if not job.classifier.capabilities.gradients:
        return f"the answers of {job.classifier.name} have {job.classifier.gradient_fault}"
    return None


def guard_attack_facts(job: Job, policy: CertifiedPolicy, eps: float) -> dict[str, Any]:
    """What attackers of one size found on the first attacked images, row by row; decisions follow from the scores.

    `attackers` are those who want a wrong answer to be given, from the one who does not know the guard to the one who
    has it; `abstention` has, for each share of the size, the points at which right answers are withheld, and
    `confidence` those at which answers stay and their scores mislead.

    Args:
        job: with its signals fitted.
        policy: the guard's, whose bounds are those of its answers.
        eps: radius of the ball in L∞, a fraction of the [0, 1] pixel range.
    """
    rows = attacked_rows(job.index, int(job.plan.guard_attack.images or 0))
    x, y = job.load(rows)
    attack = _Attack(_guarded(job, policy), x, y, job.keys(rows, NAME), job, eps)
    given, (steps, batch) = (attack.guarded, x, y, attack.keys), attack.effort
    found = attack_guard(*given, eps=eps, steps=steps, restarts=job.plan.guard_attack.restarts, batch=batch)
    confidence = attack_confidence(*given, eps=eps, steps=steps, batch=batch)
    return {
        "eps": eps,
        "sample_ids": [job.index.sample_ids[row] for row in rows],
        "attackers": {name: _columns(outcome) for name, outcome in found.items()},
        "abstention": [{"alpha": alpha, **columns} for alpha, columns in attack.abstention(found["minimal"].x)],
        "confidence": _columns(confidence),
    }


@dataclass(frozen=True, eq=False)
class _Attack:
    """Images of a guarded classifier, and what an attacker may spend."""

    guarded: GuardedClassifier
    x: Images
    y: Labels
    keys: Keys
    job: Job
    eps: float

    @property
    def effort(self) -> tuple[int, int]:
        """The steps of each search, and the rows of each pass."""
        return self.job.plan.guard_attack.steps, self.job.plan.batch

    def abstention(self, minimal: Images) -> Iterator[tuple[float, dict[str, Any]]]:
        """For each share of the size, the largest first: rows, by their place, and what was found of them.

        Only right answers that are given can be made to be withheld; rows that stand in a ball stand in a smaller one.
        """
        rows, (steps, batch) = self._answered_rightly(), self.effort
        for alpha in ALPHAS:
            if not len(rows):
                yield alpha, {"rows": [], **_no_columns(self.guarded)}
                continue
            given = self.guarded, self.x[rows], self.y[rows], self.keys.rows(rows.tolist())
            found = force_abstention(*given, eps=alpha * self.eps, steps=steps, batch=batch, minimal=minimal[rows])
            yield alpha, {"rows": rows.tolist(), **_columns(found)}
            rows = rows[(~found.accepted & ~found.wrong).to(rows.device)]

    def _answered_rightly(self) -> Tensor:
        """The rows whose answer is right and given as they are."""
        flags = []
        size = self.job.plan.batch
        for x, y in zip(torch.split(self.x, size), torch.split(self.y, size), strict=True):
            with torch.no_grad():
                evidence = self.guarded.evidence(x)
                flags.append((evidence.logits.argmax(dim=1) == y.cpu()) & self.guarded.accepts(evidence))
        return torch.cat(flags).nonzero()[:, 0] if flags else torch.empty(0, dtype=torch.int64)


def _guarded(job: Job, policy: CertifiedPolicy) -> GuardedClassifier:
    """The model with the signals and the bounds of a policy, as the guard at run time has them."""
    assert not isinstance(policy, Sited)
    signals = {name: job.ready[name] for name in policy.signals}
    needs = reduce(or_, map(needs_of, signals.values()), LOGITS)
    return GuardedClassifier(
        classifier=job.classifier,
        signals=signals,
        bounds={name: float(policy.bounds[name]) for name in policy.signals},
        layers=needs.layers,
        features=needs.features,
    )


def _columns(found: GuardAttackOutcome) -> dict[str, Any]:
    """One entry per row: the answer at the kept point, its scores, and what an attack is to be judged by."""
    return {
        "predicted": found.predicted.tolist(),
        "distance": found.distance.double().tolist(),
        "forwards": found.forwards.tolist(),
        "backwards": found.backwards.tolist(),
        "zero_score_gradient": found.zero_score_gradient.tolist(),
        "scores": {name: _numbers(values) for name, values in found.scores.items()},
        "surrogate_gap": {name: _numbers(values) for name, values in found.surrogate_gap.items()},
    }


def _no_columns(guarded: GuardedClassifier) -> dict[str, Any]:
    """The same of no row."""
    plain = ("predicted", "distance", "forwards", "backwards", "zero_score_gradient")
    numbers = ("scores", "surrogate_gap")
    return {**{name: [] for name in plain}, **{kind: {name: [] for name in guarded.signals} for kind in numbers}}


def _numbers(values: Tensor) -> Sequence[float | str | None]:
    """JSON has no NaN and nothing infinite: null, and `inf` or `-inf`, by which a guard decides as by any number."""
    return [value if isfinite(value) else None if isnan(value) else str(value) for value in values.double().tolist()]
