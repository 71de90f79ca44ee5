"""What an export was asked for: attacks that exist, that can start, and what they may cost."""

from collections.abc import Sequence

from demur.attacks.ensemble import Ensemble
from demur.attacks.foreign import Foreign
from demur.attacks.ray import Ray
from demur.attacks.walk import Attack
from demur.audit.conditions import CLEAN, Condition, Shape, conditions
from demur.errors import InputError
from demur.registry import CORRUPTIONS, lookup, parse

_BESIDES = 4
"""Looks at the clean image, the last point, the kept point, and at it in float64."""


def attacks_of(texts: Sequence[str], shape: Shape) -> tuple[Condition, ...]:
    """The attacks the texts name, lists expanded to one each.

    Raises:
        UnknownNameError: a name or field nobody knows.
        InputError: no attack at all, or a field's value breaks its rule.
    """
    for text in texts:
        name = parse(text).name
        if name in CORRUPTIONS or name == CLEAN.name:
            raise InputError(
                f"{name!r} is a condition of an audit and no attack. Name an attack, such as pgd(eps=8/255)."
            )
        lookup("attack", name)
    if not texts:
        raise InputError("no attack was named. Give at least one, such as --attack 'pgd(eps=8/255)'.")
    return tuple(found for found in conditions(texts, shape) if found.attack is not None)


def price(condition: Condition) -> int:
    """Passes an image may take at most, backwards counted like forwards; 1 where the attack is somebody else's."""
    attack = condition.attack
    assert attack is not None
    if isinstance(attack, Ensemble):
        return sum(_price(stage.attack) for stage in attack.stages)
    return 1 if isinstance(attack, Foreign) else _price(attack)


def _price(attack: Attack | Ray) -> int:
    match attack.needs:
        case "loss":
            look = 1
        case "gradient":
            look = 2
        case "jacobian":
            look = 1 + int(vars(attack)["candidates"])
    return _BESIDES + look * attack.steps * attack.restarts
