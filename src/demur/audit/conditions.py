"""What a classifier is put through: clean images, attacks, corruptions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from demur.attacks.outcome import Keep
from demur.attacks.walk import Attack
from demur.corruptions import Corruption, parameter
from demur.errors import InputError, unknown
from demur.registry import ATTACKS, CORRUPTIONS, Call, build, describe, parse

Shape = tuple[int, int, int]

_KEEPS: Mapping[str, Keep] = {"first": "first", "worst": "worst", "nearest": "nearest"}


@dataclass(frozen=True)
class Condition:
    """One condition of an audit, and the words for it.

    `name` is its canonical text. `severity` is the eps of a bounded attack or 1–5 of a corruption; 0 when clean, for
    attacks that look for the smallest perturbation and for corruptions given by their parameter.
    """

    name: str
    family: str
    kind: Literal["clean", "attack", "corruption"]
    severity: float
    sentence: str
    attack: Attack | None = None
    corruption: Corruption | None = None
    keep: Keep = "first"

    @property
    def norm(self) -> str | None:
        """The norm an attack measures itself in."""
        return None if self.attack is None else self.attack.norm


CLEAN = Condition(
    name="clean",
    family="clean",
    kind="clean",
    severity=0.0,
    sentence="The images as they are: accuracy on all held-out ones, answers on the test split",
)


def default_conditions(shape: Shape) -> tuple[str, ...]:
    """The conditions of a plan that names none: attacks at five sizes of change, three corruptions at five severities.

    The sizes are .5, 1, 2, 4 and 8/255, or .05, .1, .2 and .3 for small grey images. The worst points of PGD, which the
    attack target of the signals is scored on, are kept at the reported size.
    """
    sizes, reported = _sizes(shape)
    severities = "[1, 2, 3, 4, 5]"
    return (
        "clean",
        f"fgsm(eps=[{', '.join(sizes)}])",
        f"pgd(eps=[{', '.join(sizes)}], steps=20)",
        f"pgd(eps={reported}, keep='worst', steps=20)",
        "fmn(steps=50)",
        *(f"{name}(severity={severities})" for name in ("gaussian_noise", "gaussian_blur", "low_light")),
    )


def _sizes(shape: Shape) -> tuple[tuple[str, ...], str]:
    channels, height, width = shape
    if channels == 1 and min(height, width) <= 32:
        return ("0.05", "0.1", "0.2", "0.3"), "0.05"
    return ("0.5/255", "1/255", "2/255", "4/255", "8/255"), "2/255"


def conditions(texts: Sequence[str], shape: Shape) -> tuple[Condition, ...]:
    """Every condition the texts name, lists expanded to one condition each, clean first and none twice.

    Raises:
        UnknownNameError: a name or field nobody knows.
        InputError: a field's value breaks its rule.
    """
    found = {CLEAN.name: CLEAN}
    for text in texts:
        for call in _expand(parse(text)):
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
    if call.name in ATTACKS:
        return _attack(call)
    if call.name in CORRUPTIONS:
        return _corruption(call, shape)
    raise unknown("condition", call.name, ["clean", *ATTACKS, *CORRUPTIONS])


def _attack(call: Call) -> Condition:
    fields = dict(call.fields)
    asked = fields.pop("keep", None)
    attack: Attack = build("attack", Call(call.name, fields))
    keep = _keep(asked, attack)
    name = describe(call.name, attack, **({} if asked is None else {"keep": keep}))
    kept = {"first": "", "worst": ", worst point kept", "nearest": ""}[keep]
    known = {"size": _size(attack), "steps": attack.steps}
    return Condition(
        name=name,
        family=call.name,
        kind="attack",
        severity=attack.eps or 0.0,
        sentence=attack.sentence.format(**known) + kept,
        attack=attack,
        keep=keep,
    )


def _size(attack: Attack) -> str:
    """How much an attack may change, in words."""
    if attack.eps is None:
        return (
            "the smallest change of any pixel"
            if attack.norm == "linf"
            else f"the smallest {attack.norm.upper()} change"
        )
    if attack.norm == "linf":
        return f"every pixel changed by at most {pixels(attack.eps)}"
    return f"the image changed by at most {attack.eps:.3g} in {attack.norm.upper()}"


def _keep(asked: Any, attack: Attack) -> Keep:
    """A bounded attack keeps its first success unless told otherwise; one without a ball its nearest."""
    default: Keep = "first" if attack.eps is not None else "nearest"
    if asked is None:
        return default
    if asked not in _KEEPS:
        raise unknown("value of `keep`", str(asked), _KEEPS)
    return _KEEPS[asked]


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


def pixels(eps: float) -> str:
    """An eps as people say it: k/255 for small half-integers k, else a percentage of the pixel range.

    >>> pixels(2 / 255), pixels(0.05)
    ('2/255', '5 % of the pixel range')
    """
    steps = eps * 255
    if steps <= 16 and abs(steps * 2 - round(steps * 2)) < 1e-6:
        return f"{steps:g}/255"
    return f"{eps * 100:.3g} % of the pixel range"
