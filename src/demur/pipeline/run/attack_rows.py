"""One attack of a plan on some images, and what the record keeps of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from demur.attacks.core.attack_state import Outcome
from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.ensemble import NOT_BROKEN, NOT_RUN, WRONG_ALREADY, Ensemble, Staged, run_ensemble
from demur.attacks.external.counting_model import CountingModel
from demur.attacks.external.external import ExternalAttack, isolated, run_external
from demur.attacks.ray import Ray, RayOutcome, direction_of, run_ray
from demur.classifier import Classifier
from demur.pipeline.plan.conditions import CLEAN, Condition
from demur.pipeline.plan.target_classes import UNTARGETED, check_target_class, target_classes
from demur.randomness import Keys
from demur.shapes import Images, Labels


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack did to each row; `staged` of an ensemble, `ray` of a ray, `goal` of a targeted attack."""

    outcome: Outcome
    staged: Staged | None = None
    ray: RayOutcome | None = None
    goal: Labels | None = None

    def columns(self, condition: Condition) -> Mapping[str, list[object]]:
        """The record's columns on the attack, null where there is nothing to say."""
        outcome = self.outcome
        found: dict[str, Tensor] = {
            "distance.linf": outcome.linf,
            "distance.l2": outcome.l2,
            "step": outcome.step,
            "flags": outcome.troubles,
        }
        if condition.norm == "l1":
            found["distance.l1"] = outcome.l1
        if self.staged is None:  # the stages of an ensemble climb different losses
            found |= {"loss.start": outcome.loss_start, "loss.kept": outcome.loss_kept}
        if condition.keep == "nearest":
            found["epsilon.minimal"] = torch.where(outcome.fooled, outcome.size(str(condition.norm)), torch.nan)
            found["epsilon.censored"] = ~outcome.fooled
        if self.ray is not None:
            found |= {"spent.scan": self.ray.scan, "spent.refine": self.ray.refine}
        columns = {name: or_null(values) for name, values in found.items()}
        if any(outcome.reasons):
            columns["crash"] = [reason or None for reason in outcome.reasons]
        if self.goal is not None:
            columns["target"] = [None if goal == UNTARGETED else goal for goal in self.goal.tolist()]
        return columns if self.staged is None else columns | _stages(self.staged)


def run_attack(
    condition: Condition,
    classifier: Classifier,
    x: Images,
    y: Labels,
    keys: Keys,
    *,
    batch: int,
    weights: Tensor | None = None,
) -> AttackResult:
    """Run the attack of a condition; a ray's direction may be weighted, (rows, 1, height, width)."""
    attack = condition.attack
    assert attack is not None
    if isinstance(attack, Ray):
        ray = run_ray(attack, Objective(classifier, attack.loss), x, y, keys, batch=batch, weights=weights)
        return AttackResult(ray.outcome, ray=ray)
    if isinstance(attack, Ensemble):
        staged = run_ensemble(attack, Objective(classifier), x, y, keys, batch=batch)
        return AttackResult(staged.outcome, staged=staged)
    if isinstance(attack, ExternalAttack):
        objective = Objective(classifier, "margin")
        return AttackResult(run_external(attack, objective, x, y, keys, keep=condition.keep, batch=batch))
    objective = Objective(classifier, attack.loss)
    if condition.target is None:
        return AttackResult(run(attack, objective, x, y, keys, keep=condition.keep, batch=batch))
    clean = torch.cat([objective.logits(part) for part in torch.split(x, batch)])
    goal = target_classes(condition.target, classifier.classes, clean, y, keys)
    outcome = run(attack, objective, x, y, keys, keep=condition.keep, batch=batch, target=goal)
    return AttackResult(replace(outcome, forwards=outcome.forwards + 1), goal=goal)


def try_attacks(found: Iterable[Condition], classifier: Classifier) -> None:
    """Look up every target and direction and make every foreign attack once: better told now than after an hour.

    Raises:
        InputError: a class, a package, an attack, a function or a setting that is not there.
    """
    objective = Objective(classifier)
    x = torch.full((2, *classifier.input_shape), 0.5, device=classifier.device)
    y, eps = torch.zeros(2, dtype=torch.long, device=classifier.device), x.new_ones(2)
    for condition in found:
        if condition.target is not None:
            check_target_class(condition.target, classifier.classes)
        if condition.attack is not None and isinstance(condition.attack, ExternalAttack):
            shown = CountingModel(objective, x, y, eps, condition.attack.norm)
            with isolated(shown, 0):
                condition.attack.bind(shown)
        if isinstance(condition.attack, Ray):
            direction_of(condition.attack.direction)


def _stages(staged: Staged) -> dict[str, list[object]]:
    names = {NOT_BROKEN: None, WRONG_ALREADY: CLEAN.name, **dict(enumerate(staged.stages))}
    spent = {
        f"passes.{name}": [None if cost == NOT_RUN else cost for cost in costs]
        for name, costs in zip(staged.stages, staged.passes.T.tolist(), strict=True)
    }
    return {
        "stage": [names[k] for k in staged.broke.tolist()],
        "stage.kept": [names[k] for k in staged.kept.tolist()],
        **spent,
    }


def or_null(values: Tensor) -> list[object]:
    """The values with NaN, which is nothing, as null."""
    return [None if value != value else value for value in values.tolist()]
