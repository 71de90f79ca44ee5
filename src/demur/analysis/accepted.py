"""The tables of acceptance: gates, and how often the labels they rest on were opened."""

from typing import Literal

from demur.analysis.table import Quantity, Table


class GateRow(Table):
    """One acceptance rule, judged on the bad end of the 95 % interval of `value`.

    `of` is what the value belongs to where a rule is asked of several, such as every class. `needed` is how many units
    (`value.unit`) would probably decide an inconclusive one.
    """

    key: str
    rule: str
    of: str | None
    value: Quantity
    outcome: Literal["pass", "fail", "inconclusive"]
    needed: int | None
    sentence: str


class Opened(Table):
    """How often the labels of these images were opened, by any run known of; times are UTC.

    `changed` says which gates are not those that stood when the test labels were first opened.
    """

    certify: int
    test: int
    first_certify: str | None
    first_test: str | None
    plans: int
    models: int
    sentence: str
    changed: tuple[str, ...]
