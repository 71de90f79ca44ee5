"""The smallest change along a direction, on paper: of the model, of each class, and what classes turn into."""

from typing import Literal

from demur.analysis.table import Number, Quantity, Table

End = Literal["value", "low", "high"]


class Reach(Table):
    """A quantile of smallest changes with its exact interval; an end above the cap stands at the cap.

    `above` names those of `value`, `low` and `high` that only are known to lie above it.
    """

    value: Number
    low: Number
    high: Number
    above: tuple[End, ...] = ()
    n: int
    unit: Literal["image", "group"] = "image"
    reason: str | None = None


class ClassSearch(Table):
    """One class: `wrong` images count as 0, `censored` ones never flipped up to the cap; `rank` 1 flips first.

    `right_median` is over the images that were right.
    """

    name: str
    n: int
    wrong: int
    censored: int
    lower: Reach
    median: Reach
    upper: Reach
    rank: int | None
    right_median: Reach | None = None


class Flip(Table):
    """How many images of one class first turn into another, and the median of their smallest changes."""

    label: str
    becomes: str
    n: int
    median: Number


class Ranking(Table):
    """Whether the order of the classes is more than noise.

    `p_value` is Kruskal and Wallis's, by permutation of the labels; `halves` the rank correlation between the classes'
    medians in two random halves of the images. Both are of all images, as the ranks are.
    """

    classes: int
    n: int
    statistic: Number
    p_value: Number
    halves: Quantity
    sentence: str


class Confidence(Table):
    """The probability of the label along the direction: its mean with interval, and the middle half of the images."""

    eps: float
    mean: Quantity
    lower: Number
    upper: Number
    standing: Quantity


class Beside(Table):
    """A search by a stronger attack on the same images; `ratio` is the median of direction ÷ attack, image by image.

    `upheld` is the share of images on which the attack's change is no larger than the direction's. `ecdf` is as that of
    `Search`.
    """

    condition: str
    sentence: str
    n: int
    median: Reach
    ratio: Quantity
    upheld: Quantity
    ecdf: tuple[tuple[float, float], ...] = ()


class Search(Table):
    """The smallest change that one search found. Quantiles are over all images; already wrong ones count as 0.

    Directions are followed up to their `cap`; other searches have none, and what they never flip has no size.
    `smallest` and `largest` are of the images that flipped. `scan` and `refinement` are forwards per flipped image.
    `resolution` says in words what the scan can see. `ecdf` holds at most 200 pairs of a size and the share of all
    images that no change of at most this size flips, by growing size; its first size is 0, its last the cap.
    """

    condition: str
    sentence: str
    norm: str
    cap: Number
    n: int
    wrong: int
    censored: int
    lower: Reach
    median: Reach
    upper: Reach
    right_median: Reach
    smallest: Number
    largest: Number
    scan: Number
    refinement: Number
    per_class: tuple[ClassSearch, ...]
    ranking: Ranking | None
    flips: tuple[Flip, ...]
    curve: tuple[Confidence, ...]
    beside: tuple[Beside, ...]
    resolution: str | None = None
    ecdf: tuple[tuple[float, float], ...] = ()
