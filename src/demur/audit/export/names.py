"""What the files of an export are called."""

import re
from collections.abc import Sequence

from demur.audit.conditions import pixels

_LONGEST = 80


def slug(text: str) -> str:
    """A file name for a name; small sizes are written as people say them.

    >>> slug("pgd(eps=0.0078431373, steps=20)")
    'pgd-eps-2_255-steps-20'
    """
    spoken = re.sub(r"\b0\.0\d{3,}", lambda size: _spoken(size[0]), text.lower())
    return re.sub(r"[^a-z0-9._]+", "-", spoken).strip("-.")[:_LONGEST] or "model"


def _spoken(number: str) -> str:
    said = pixels(float(number))
    return said.replace("/", "_") if said.endswith("/255") else number


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, a number added to those that were there before.

    >>> unique(["resnet20", "resnet56", "resnet20"])
    ('resnet20', 'resnet56', 'resnet20-2')
    """
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name}-{number}"
        found.append(free)
    return tuple(found)
