"""What attacks came to, on paper: one row per attack, and what the smallest changes say of every size."""

from demur.analysis.table import Quantity, Table


class AttackRow(Table):
    """One attack. `robust_accuracy` is over all attacked images, `success` over those the model had right.

    `target` names the class or rule of a targeted attack; its `reached` is the share of the images that are not of that
    class which ended there, null for others; its `success` counts, among them, those the model had right and got wrong.
    `median_distance` is of the images that the attack made wrong; where it keeps smallest changes, of all, 0 where the
    answer was wrong already. `troubled` images had a zero or non-finite gradient, left their ball, crashed, or could
    not be confirmed.
    """

    condition: str
    sentence: str
    norm: str
    eps: float | None
    target: str | None
    n: int
    robust_accuracy: Quantity
    success: Quantity
    reached: Quantity | None
    median_distance: Quantity
    troubled: int
    forwards: int
    backwards: int


class SizePoint(Table):
    """Robust accuracy at one size of change: the share of all images that no change of at most `eps` fooled."""

    eps: float
    robust_accuracy: Quantity


class ClassRobustness(Table):
    """One class: accuracy before the attack, robust accuracy at the reported size, median of the smallest change."""

    name: str
    n: int
    accuracy: Quantity
    robust_accuracy: Quantity | None
    median_distance: Quantity


class StageRow(Table):
    """One stage of an ensemble: the images it was run on, those it broke first, and the passes it took."""

    name: str
    n: int
    broke: int
    passes: int


class Robustness(Table):
    """The smallest change of every image, hence accuracy at every size.

    `eps` is the size an ensemble was strongest at, null for a bare search. `never` images were not fooled at all. An
    ensemble without a search has no `curve` and no median.
    """

    condition: str
    sentence: str
    norm: str
    eps: float | None
    n: int
    accuracy: Quantity
    robust_accuracy: Quantity | None
    median_distance: Quantity
    never: int
    curve: tuple[SizePoint, ...]
    per_class: tuple[ClassRobustness, ...]
    stages: tuple[StageRow, ...]
