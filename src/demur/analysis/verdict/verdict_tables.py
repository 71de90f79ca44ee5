"""Rows of checks, gates and label access, and the level a count makes a check."""

from typing import Literal

from demur.analysis.quantity import Quantity, Table
from demur.metrics import wilson

State = Literal["pass", "warn", "fail"]


def level(count: int, of: int, warn: float, fail: float) -> State:
    """Fail above one share, warn above another."""
    portion = count / of if of else 0.0
    return "fail" if portion > fail else "warn" if portion > warn else "pass"


def sure_level(count: int, of: int, warn: float, fail: float) -> State:
    """Fail where the 95 % interval lies above one share, so that an odd image of few fails nothing; warn above another.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if of and wilson(count, of).low > fail:
        return "fail"
    return "warn" if count > warn * of else "pass"


class GateRow(Table):
    """One acceptance rule, judged on the bad end of the 95 % interval of `value`.

    `of` is what the value belongs to where a rule covers several, such as every class. `units_needed` is how many units
    (`value.unit`) would probably decide an inconclusive one.
    """

    key: str
    rule: str
    of: str | None
    value: Quantity
    outcome: Literal["pass", "fail", "inconclusive"]
    units_needed: int | None
    sentence: str


class LabelAccess(Table):
    """How often the labels of these images were opened, by any recorded run; times are UTC.

    `gate_changes` says which gates are not those that stood when the test labels were first opened.
    """

    certify: int
    test: int
    first_certify: str | None
    first_test: str | None
    plans: int
    models: int
    sentence: str
    gate_changes: tuple[str, ...]


Bearing = Literal[
    "everything",
    "guarantee",
    "rankings",
    "attacks",
    "the guard under attack",
    "corruptions",
    "unknown images",
    "maps",
    "labels",
]


class Check(Table):
    """One check of the measurement itself; where it fails, what it bears on is void and nothing else."""

    name: str
    state: Literal["pass", "warn", "fail"]
    sentence: str
    count: int | None = None
    of: int | None = None
    bears_on: Bearing = "everything"
