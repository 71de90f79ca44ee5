"""The promise, or the refusal to make one, on paper."""

from typing import Literal

from demur.analysis.table import Number, Quantity, Table


class Promise(Table):
    """A certified threshold, and what the untouched test split says of it.

    `test_n`, `test_answered` and `test_wrong` count the `unit` of the promise: one image of each group where there are
    groups. The shares are of all test images, with intervals by the same unit.
    """

    signal: str
    threshold: float
    risk: float
    delta: float
    certify_n: int
    certify_answered: int
    certify_wrong: int
    test_n: int
    test_answered: int
    test_wrong: int
    coverage: Quantity
    test_risk: Quantity
    unguarded_risk: Quantity
    unit: Literal["image", "group"] = "image"


class Refusal(Table):
    """Why no threshold was certified, and what would be needed (`labels_needed` is null where no number can be named).

    `provable` is the smallest risk so few labels could prove if no answer were wrong; `supported` the smallest of a few
    rounder risks at which these very labels would have passed. It was looked up afterwards, so it promises nothing.
    """

    sentence: str
    risk: float
    delta: float
    labels_needed: int | None
    labels_given: int
    lowest_risk: Number
    unit: Literal["image", "group"] = "image"
    provable: float | None = None
    supported: float | None = None
