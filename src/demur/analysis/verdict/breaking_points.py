"""What breaks a model, as rows of one ordered list; the rule stands in `demur.analysis.what_breaks`."""

from typing import Literal

from demur.analysis.quantity import Quantity, Table

Subject = Literal["attack", "corruption", "class", "slice", "site", "unknown"]


class Breaking(Table):
    """One thing that breaks the guarantee, or without one the accuracy.

    A family of attacks or corruptions is one row: `condition` is its smallest size that breaks, `measured` what was
    measured there; `worst_condition` and `worst` are where it is worst. Of a class, slice or site the two are the same
    and there are no conditions. `measured` and `worst` are shares of wrong answers: of those given where a guarantee is
    broken, of all images where there is none; of unknown images, the share answered. `smaller` says whether smaller
    sizes were measured and are not seen to break.
    """

    subject: Subject
    name: str
    condition: str | None = None
    severity: float | None = None
    measured: Quantity
    worst_condition: str | None = None
    worst_severity: float | None = None
    worst: Quantity
    smaller: bool = False


class WhatBreaks(Table):
    """Everything measured that breaks it, worst first, and how many things were tried.

    `limit`: the share of wrong answers above which a thing breaks: the guaranteed one (`rule` is "guarantee"), or what
    leaves half of the clean accuracy ("half").
    """

    rule: Literal["guarantee", "half"]
    limit: float
    tried: int
    rows: tuple[Breaking, ...]
