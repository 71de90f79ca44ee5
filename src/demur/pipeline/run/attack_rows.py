"""One attack of a plan on some images, and what the record keeps of it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from demur.attacks.core.attack_state import Outcome
from demur.attacks.core.objective import Objective
from demur.classifier import BoundClassifier
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.plan.target_classes import check_target_class, target_classes
from demur.randomness import Keys
from demur.shapes import Images, Labels


def run_attack(
    condition: Condition,
    classifier: BoundClassifier,
    x: Images,
    y: Labels,
    keys: Keys,
    *,
    batch: int,
    weights: Tensor | None = None,
) -> Outcome:
    """Run the attack of a condition; the direction of one along a line may be weighted, (rows, 1, height, width)."""
    attack = condition.attack
    assert attack is not None
    objective = Objective(classifier, attack.loss)
    if condition.target is None:
        return attack.execute(objective, x, y, keys, keep=condition.keep, batch=batch, weights=weights)
    clean = torch.cat([objective.logits(part) for part in torch.split(x, batch)])
    target = target_classes(condition.target, classifier.classes, clean, y, keys)
    outcome = attack.execute(objective, x, y, keys, keep=condition.keep, batch=batch, target=target)
    return replace(outcome, forwards=outcome.forwards + 1)


def attack_columns(condition: Condition, outcome: Outcome) -> Mapping[str, list[object]]:
    """The record's columns on an attack, null where there is nothing to say."""
    found: dict[str, Tensor] = {
        "distance.linf": outcome.linf,
        "distance.l2": outcome.l2,
        "step": outcome.step,
        "flags": outcome.troubles,
    }
    if condition.norm == "l1":
        found["distance.l1"] = outcome.l1
    if condition.attack is not None and not condition.attack.stages:  # stages climb different losses
        found |= {"loss.start": outcome.loss_start, "loss.kept": outcome.loss_kept}
    if condition.keep == "nearest":
        found["epsilon.minimal"] = torch.where(outcome.fooled, outcome.size(str(condition.norm)), torch.nan)
        found["epsilon.censored"] = ~outcome.fooled
    columns = {name: or_null(values) for name, values in found.items()}
    return columns | {name: list(values) for name, values in outcome.extra.items()}


def try_attacks(found: Iterable[Condition], classifier: BoundClassifier) -> None:
    """Look up every target and try what can be tried of every attack: better an error now than after an hour.

    Raises:
        InputError: a class, a package, an attack, a function or a setting that is not there.
    """
    objective = Objective(classifier)
    for condition in found:
        if condition.target is not None:
            check_target_class(condition.target, classifier.classes)
        if condition.attack is not None:
            condition.attack.check(objective)


def or_null(values: Tensor) -> list[object]:
    """The values with NaN, which is nothing, as null."""
    return [None if value != value else value for value in values.tolist()]
