"""Two models on the same images, on paper. Differences are second − first: positive where the second does better."""

from typing import Literal

from demur.analysis.searched import Reach
from demur.analysis.table import Number, Quantity, Table


class RunRow(Table):
    """One run of those compared; `letter` is what it is called in sentences."""

    letter: str
    path: str
    model: str
    model_sha256: str
    plan_sha256: str


class Shares(Table):
    """Images that each model has right: `only_first` are wrong with the second, `only_second` with the first.

    `p_value` is McNemar's exact one, with groups that of turning whole groups.
    """

    n: int
    first: Quantity
    second: Quantity
    only_first: int
    only_second: int
    p_value: Number
    difference: Quantity


class Standing(Table):
    """Images still right under an ensemble of attacks at the size both runs report."""

    condition: str
    sentence: str
    norm: str
    eps: float
    shares: Shares


class Changes(Table):
    """Smallest changes of the same images: medians, and on how many images the one or the other model's is larger.

    `p_value` is the sign test's, `difference` the median of the differences, `effect` the share where the second's is
    larger minus the share where the first's is.
    """

    n: int
    first: Reach
    second: Reach
    first_larger: int
    second_larger: int
    ties: int
    p_value: Number
    difference: Quantity
    effect: Quantity


class ClassChanges(Table):
    """One class; `p_value` holds for all classes asked at once, and is null for those of fewer than six images."""

    name: str
    changes: Changes
    p_value: Number


class SearchPair(Table):
    """One search that both runs have, over every image, and over those that both models had right.

    What is wrong already counts as 0. `cap` is the smaller of the two; changes above it count as never found. `better`
    is said only where p is at most 5 %.
    """

    condition: str
    sentence: str
    norm: str
    cap: Number
    every: Changes
    right: Changes
    per_class: tuple[ClassChanges, ...]
    better: Literal["first", "second"] | None
    verdict: str


class Pair(Table):
    """The first run of all and one other; the verdict is about right answers, and the first of the `searches`."""

    first: str
    second: str
    accuracy: Shares
    standing: tuple[Standing, ...]
    searches: tuple[SearchPair, ...]
    notes: tuple[str, ...]
    verdict: str


class Comparison(Table):
    """Runs on the same images, each but the first against the first."""

    schema_version: Literal[1] = 1
    data: str
    data_sha256: str
    classes: tuple[str, ...]
    runs: tuple[RunRow, ...]
    pairs: tuple[Pair, ...]
