"""Whether counted answers keep what was guaranteed: holds, broken, or too few to tell."""

from typing import Literal, TypeAlias

from demur.metrics.binomial import clopper_pearson

Keeping: TypeAlias = Literal["holds", "broken", "undecided"]

FEWEST_ANSWERS = 20
"""A share of fewer answers is no ground for a judgement."""


def keeping(errors: int, of: int, risk: float, several: int = 1) -> Keeping:
    """Whether a share keeps a risk: by its exact 95 % interval, undecided where it straddles it.

    The interval holds for `several` shares at once.

    >>> [keeping(errors, 1000, 0.02) for errors in (5, 20, 60)]
    ['holds', 'undecided', 'broken']
    """
    found = clopper_pearson(errors, of, several)
    return "holds" if found.high <= risk else "broken" if found.low > risk else "undecided"
