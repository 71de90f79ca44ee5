"""What a classifier is put through: clean images, attacks and the classes they aim at, corruptions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from math import prod
from types import MappingProxyType
from typing import Any, Literal, cast

import torch

from demur.attacks.core.attack import Attack, Line
from demur.attacks.core.attack_state import Keep
from demur.attribution import AttributionMap
from demur.attribution.occlusion import OccludedBy, Part
from demur.corruptions import Corruption, parameter
from demur.errors import InputError, unknown
from demur.randomness import Keys, uniform
from demur.registry import Call, build, call_of, canonical, describe, kind_of, names
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


Shape = tuple[int, int, int]

MOST = 10_000

Kind = Literal["clean", "attack", "corruption", "unknown", "epsilon", "map", "intervention"]


@dataclass(frozen=True)
class Condition:
    """One condition of an audit, and the words for it.

    `name` is its canonical text, `norm` the one an attack measures itself in. `severity` is the eps of a bounded attack
    or 1–5 of a corruption; 0 when clean, for searches for the minimal perturbation and for corruptions given by their
    parameter.

    Besides what is counted as a condition in tables there are searches for the minimal perturbation (`epsilon`),
    attribution maps (`map`) and occlusions (`intervention`), each on images of its own. Of these `part` and `region`
    say which part of the image is meant and what says where the object is, `by` how it is occluded. Attacks of one
    `series` differ in the size of their ball alone, and a larger one can only find more.
    """

    name: str
    family: str
    kind: Kind
    severity: float
    sentence: str
    attack: Attack | None = None
    norm: str | None = None
    corruption: Corruption | None = None
    keep: Keep = "first"
    target: str | None = None
    series: str | None = None
    map: AttributionMap | None = None
    part: Part | None = None
    region: str | None = None
    by: OccludedBy | None = None

    @property
    def scored(self) -> bool:
        """Whether every signal is scored under it: the conditions proper, and images of none of the classes."""
        return self.kind in {"clean", "attack", "corruption", "unknown"}

    @property
    def unlimited(self) -> bool:
        """Whether the minimal perturbation of each image is looked for, however large it may be."""
        return self.keep == "nearest" and self.attack is not None and self.attack.minimal

    @property
    def line(self) -> Line | None:
        """The straight line its attack follows, where it follows one."""
        return None if self.attack is None else self.attack.line


CLEAN = Condition(
    name="clean",
    family="clean",
    kind="clean",
    severity=0.0,
    sentence="The images as they are: accuracy on all held-out ones, answers on the test split",
)

UNKNOWN = Condition(
    name="unknown",
    family="unknown",
    kind="unknown",
    severity=0.0,
    sentence="Images of none of the classes, as they are: whether they are answered",
)
"""Of other images than the rest of an audit, and without labels."""


def default_conditions(shape: Shape, *, gradients: bool = True) -> tuple[str, ...]:
    """The conditions of a plan that names none: attacks at five sizes of change, three corruptions at five severities.

    The sizes are .5, 1, 2, 4 and 8/255, or .05, .1, .2 and .3 for small grey images. The ensemble gives every image its
    minimal perturbation, hence accuracy at every size, and is strongest at the reported one; there the worst points of
    PGD are kept, which the attack target of the signals is scored on. Robust nets for small grey images are judged at
    .3, where a short search for the minimal perturbation is too high by several points: there the ensemble runs once
    more, without the search, on the images that stand.

    A model without `gradients` is searched by its answers alone: inside balls of the sizes that are the ensemble's, the
    worst points kept at the reported one, and for the minimal perturbation of each image.
    """
    severities = "[1, 2, 3, 4, 5]"
    return (
        "clean",
        *(_attacks_by_gradients(shape) if gradients else _attacks_by_answers(shape)),
        *(f"{name}(severity={severities})" for name in ("gaussian_noise", "gaussian_blur", "low_light")),
    )


def _attacks_by_gradients(shape: Shape) -> Iterator[str]:
    sizes, (reported, *others) = _sizes(shape)
    yield f"fgsm(eps=[{', '.join(sizes)}])"
    yield f"pgd(eps={reported}, keep='worst', steps=20)"
    yield f"ensemble(eps={reported})"
    yield from (f"ensemble(curve=false, eps={size})" for size in others)


def _attacks_by_answers(shape: Shape) -> Iterator[str]:
    _, (reported, *others) = _sizes(shape)
    yield f"square(eps={reported}, keep='worst', steps=500)"
    yield from (f"square(eps={size}, steps=500)" for size in others)
    yield "hopskipjump"


def _sizes(shape: Shape) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All sizes, and those at which an ensemble is run, the reported one first."""
    channels, height, width = shape
    if channels == 1 and min(height, width) <= 32:
        return ("0.05", "0.1", "0.2", "0.3"), ("0.05", "0.3")
    return ("0.5/255", "1/255", "2/255", "4/255", "8/255"), ("2/255",)


def conditions(texts: Sequence[str], shape: Shape) -> tuple[Condition, ...]:
    """Every condition the texts name, lists expanded to one condition each, clean first and none twice.

    Raises:
        UnknownNameError: a name or field nobody knows.
        InputError: a field's value breaks its rule.
    """
    count = sum(
        prod(len(value) for value in call_of(text).fields.values() if isinstance(value, list)) for text in texts
    )
    if count > MOST:
        raise InputError(
            f"the lists of values come to {count:,} conditions, and at most {MOST:,} are measured in one audit. "
            "Shorten them, or write several plans."
        )
    found = {CLEAN.name: CLEAN}
    for text in texts:
        for call in _expand(call_of(text)):
            condition = _condition(call, shape)
            found.setdefault(condition.name, condition)
    return tuple(found.values())


def _expand(call: Call) -> Iterator[Call]:
    """A list on a field is one call for each of its values."""
    for name, value in call.fields.items():
        if value == []:
            raise InputError(
                f"`{name}` of {call.name} is an empty list, so nothing would be measured. Give it a value."
            )
    choices = [value if isinstance(value, list) else [value] for value in call.fields.values()]
    for values in product(*choices):
        yield Call(call.name, dict(zip(call.fields, values, strict=True)))


def _condition(call: Call, shape: Shape) -> Condition:
    if call.name == CLEAN.name:
        if call.fields:
            raise InputError(f"the clean condition takes no fields; got {', '.join(call.fields)}.")
        return CLEAN
    match kind_of(call.name, "attack", "corruption"):
        case "attack":
            return _attack(call)
        case "corruption":
            return _corruption(call, shape)
        case _:
            raise unknown("condition", call.name, ["clean", *names("attack"), *names("corruption")])


def _attack(call: Call) -> Condition:
    given = dict(call.fields)
    point, target = given.pop("keep", None), given.pop("target", None)
    attack: Attack = build("attack", Call(call.name, given))
    keep, usual = attack.check_keep(point), attack.keeps[0]
    if target is not None:
        check_target(target, attack)
    extra = {**({} if keep == usual else {"keep": keep}), **({} if target is None else {"target": target})}
    said = ("" if keep == usual else f", {keep} point kept") + (f", towards {target_words(target)}" if target else "")
    sentence = attack.sentence.format(size=_size(attack), steps=attack.steps * attack.restarts) + said
    return Condition(
        name=describe(call.name, attack, **extra),
        family=call.name,
        kind="attack",
        severity=attack.eps or 0.0,
        sentence=sentence[:1].upper() + sentence[1:],
        attack=attack,
        norm=attack.norm,
        keep=keep,
        target=target,
        series=_series(call.name, attack, extra),
    )


def _series(name: str, attack: Attack, extra: Mapping[str, object]) -> str | None:
    """Everything about an attack but the size of its ball, where a larger ball can only find more."""
    given = {field.name: getattr(attack, field.name) for field in fields(cast(Any, attack)) if field.name != "eps"}
    return canonical(name, {**given, **extra}) if attack.nested else None


def _size(attack: Attack) -> str:
    """How much an attack may change, in words."""
    if attack.norm == "none":
        return "the image changed without limit"
    if attack.eps is None:
        return (
            "the smallest change of any pixel"
            if attack.norm == "linf"
            else f"the smallest {attack.norm.upper()} change"
        )
    if attack.norm == "linf":
        return f"every pixel changed by at most {eps_words(attack.eps)}"
    return f"the image changed by at most {attack.eps:.3g} in {attack.norm.upper()}"


def _corruption(call: Call, shape: Shape) -> Condition:
    corruption: Corruption = build("corruption", call)
    return Condition(
        name=describe(call.name, corruption),
        family=call.name if corruption.value is None else f"{call.name} {corruption.value:g}",
        kind="corruption",
        severity=float(corruption.severity or 0),
        sentence=corruption.sentence.format(value=parameter(corruption, min(shape[1:]))),
        corruption=corruption,
    )


def eps_words(eps: float) -> str:
    """An eps as people say it: k/255 for small half-integers k, else a percentage of the pixel range.

    >>> eps_words(2 / 255), eps_words(0.05)
    ('2/255', '5 % of the pixel range')
    """
    steps = eps * 255
    if steps <= 16 and abs(steps * 2 - round(steps * 2)) < 1e-6:
        return f"{steps:g}/255"
    return f"{eps * 100:.3g} % of the pixel range"
