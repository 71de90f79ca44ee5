"""Targeted attacks of a plan: which class each image is to be taken for."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from demur.attacks.core.attack import Attack
from demur.errors import InputError, unknown
from demur.randomness import Keys, uniform
from demur.shapes import Labels, Logits

UNTARGETED = -1
"""The goal of a row that is left alone, since its label is the target."""


def _random(logits: Logits, y: Labels, keys: Keys) -> Labels:
    others = logits.shape[1] - 1
    step = uniform(keys.seeds("goal").to(y.device), "goal", y[:, None].double())[:, 0]
    return (y + 1 + (step * others).long()) % logits.shape[1]


def _least_likely(logits: Logits, y: Labels, keys: Keys) -> Labels:  # noqa: ARG001 - all rules take keys
    return logits.scatter(1, y[:, None], torch.inf).argmin(dim=1)


def _next(logits: Logits, y: Labels, keys: Keys) -> Labels:  # noqa: ARG001 - all rules take keys
    return (y + 1) % logits.shape[1]


_RULES: Mapping[str, Callable[[Logits, Labels, Keys], Labels]] = MappingProxyType(
    {"least_likely": _least_likely, "next": _next, "random": _random}
)


_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "least_likely": "the class it is least likely to be",
        "next": "the class after its own",
        "random": "a random class",
    }
)


def target_words(target: str) -> str:
    """What an attack aims at, in words.

    >>> target_words("frog"), target_words("random")
    ('the class frog', 'a random class')
    """
    return _WORDS.get(target, f"the class {target}")


def check_target(target: Any, attack: Attack) -> None:
    """Refuse a target that is no text, and one for an attack that takes none."""
    attack.check_target(target)
    if not isinstance(target, str):
        raise InputError(
            f"`target` must be the name of a class or one of {', '.join(_RULES)}, in quotes; got {target!r}."
        )


def check_target_class(target: str, classes: Sequence[str]) -> None:
    """Refuse a target that is neither a rule nor a class."""
    if target not in {*_RULES, *classes}:
        raise unknown("target", target, [*_RULES, *classes])


def target_classes(target: str, classes: tuple[str, ...], logits: Logits, y: Labels, keys: Keys) -> Labels:
    """The class (rows,) each image is to be taken for; −1 for images of that class.

    Args:
        target: the name of a class, or `random`, `next` (the one after the label) or `least_likely`.
        classes: names in the order of the logits.
        logits: the model's answers to the clean images.
        y: labels.
        keys: one key per row.

    Raises:
        UnknownNameError: neither a rule nor a class.
    """
    if target in classes:
        goal = torch.full_like(y, classes.index(target))
        return torch.where(goal == y, UNTARGETED, goal)
    check_target_class(target, classes)
    return _RULES[target](logits, y, keys)
