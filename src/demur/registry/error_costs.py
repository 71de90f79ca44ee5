"""How a plan says which errors matter: the positive class, how common it is in use, what each error costs."""

import math
from collections.abc import Mapping, Sequence

from demur.errors import InputError, unknown

ABSTAINED = "abstained"
"""The key of `[costs]` for an image the guard abstains on."""

_AS = " as "


def read_prevalence(text: str, positive: str | None) -> tuple[str, float]:
    """The positive class and its share in use, from `positive=0.005` or `defective=0.005`.

    >>> read_prevalence("positive=.005", "defective")
    ('defective', 0.005)

    Raises:
        InputError: not a share, no positive class is named, or two different ones are.
    """
    name, _, number = text.partition("=")
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise InputError(
            f"a prevalence is NAME=SHARE with a share strictly between 0 and 1; got {text!r}. Write 0.5 % of positives "
            "as positive=0.005."
        )
    name = name.strip()
    if name == "positive" and positive is None:
        raise InputError(
            f"the prevalence {text!r} needs to know which class is the positive one. Set data.positive to its name, or "
            "write the name instead of the word positive."
        )
    if positive is not None and name not in {"positive", positive}:
        raise InputError(f"the prevalence is that of {name!r}, the positive class is {positive!r}. Name one of them.")
    return positive or name, share


def check_positive(positive: str, classes: Sequence[str]) -> None:
    """Refuse a positive class that is none."""
    if positive not in classes:
        raise unknown("class in data.positive", positive, classes)


def read_costs(costs: Mapping[str, float], classes: Sequence[str]) -> dict[tuple[str, str], float]:
    """(true class, answer) → cost, from keys such as `defective as functional`; `abstained` is left out.

    Raises:
        InputError: a key of another form, a class that is none, or a cost that is not a finite number of at least 0.
    """
    for key, cost in costs.items():
        if not (math.isfinite(cost) and cost >= 0):
            raise InputError(f"the cost of {key!r} must be a finite number of at least 0; got {cost}.")
    return {_pair(key, classes): cost for key, cost in costs.items() if key != ABSTAINED}


def _pair(key: str, classes: Sequence[str]) -> tuple[str, str]:
    pairs = [(one, other) for one in classes for other in classes if f"{one}{_AS}{other}" == key and one != other]
    if pairs:
        return pairs[0]
    for name in key.split(_AS, 1):
        if _AS in key and name not in classes:
            raise unknown(f"class in the cost of {key!r}:", name, classes)
    raise InputError(
        f"a cost is written “{classes[0]} as {classes[1]}” (the true class, then the wrong answer) or “{ABSTAINED}”; "
        f"got {key!r}."
    )
