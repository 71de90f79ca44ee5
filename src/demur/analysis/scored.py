"""What signals of doubt came to, on paper: against the baseline, under each condition, part by part."""

from typing import Literal

from demur.analysis.table import Number, Quantity, Table

TargetName = Literal["error", "attack", "attack_oblivious", "shift"]


class TargetRow(Table):
    """How well one signal finds one target; `gain` is its AUROC minus that of msp on the same rows, paired.

    `corrected` is the same gain with an interval that holds for all signals compared at once; `beats` says that it lies
    above 0. Both are null for the baseline and for signals that rank as an earlier one does.
    """

    target: TargetName
    positives: int
    negatives: int
    auroc: Quantity
    gain: Quantity | None
    augrc: Quantity | None
    aurc: Quantity | None
    aupr: Quantity | None
    fpr95: Quantity | None
    coverage_at_risk: Quantity | None
    corrected: Quantity | None = None
    beats: bool | None = None


class SignalRow(Table):
    """One signal against every target. AURC and AUGRC belong to the error target only.

    `fitted_on` is the number of images a fitted signal learned from, null for others; it is scored on test rows only.
    `ranks_as` names an earlier signal that puts all rows in the same order. `passes` and `milliseconds` are the price
    of an image beyond the look that all signals share; times were taken on one batch, null where none were.
    """

    name: str
    sentence: str
    unit: str
    targets: tuple[TargetRow, ...]
    fitted_on: int | None = None
    ranks_as: str | None = None
    passes: float = 0.0
    milliseconds: float | None = None


class Contest(Table):
    """Which of the `compared` signals beat the baseline at a target, all of them considered, and which lose to it.

    Of those that are `better` the `blind` are not shown to find failures better than chance.
    """

    target: TargetName
    compared: int
    better: tuple[str, ...]
    blind: tuple[str, ...]
    worse: tuple[str, ...]
    sentence: str


class Rejection(Table):
    """The share of test images each condition makes one signal decline.

    The threshold is set on clean tune images, to decline the share `clean` of them.
    """

    signal: str
    clean: float
    threshold: float
    declined: dict[str, Quantity]


class CorruptionRow(Table):
    """Accuracy under one corruption at severities 1 to 5, null where one was not run, and what it looks like."""

    family: str
    accuracy: tuple[Quantity | None, ...]
    thumb: str | None


class CorruptionMap(Table):
    """Families of corruption by severity. `mean` is the accuracy over all that ran, each counted once.

    The corruption errors are in hundredths of AlexNet's on ImageNet, and null for other images than of its 1,000
    classes or where not all 15 common corruptions ran at all severities.
    """

    rows: tuple[CorruptionRow, ...]
    mean: float
    original: str | None
    mean_corruption_error: Number | None
    relative_corruption_error: Number | None


class PartRow(Table):
    """How well one part of a signal finds a target by itself: a layer, a squeezer, or the first so many mutants."""

    signal: str
    made_of: str
    target: TargetName
    part: str
    auroc: Quantity


class Roc(Table):
    """Hits against false alarms of a part, or of the whole score, at every threshold; at most 60 points."""

    signal: str
    target: TargetName
    part: str
    points: tuple[tuple[float, float], ...]
