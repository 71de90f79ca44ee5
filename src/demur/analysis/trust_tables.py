"""System 002's components of trust, side by side and never summed into one number."""

from demur.analysis.searched import Reach
from demur.analysis.table import Quantity, Table


class TrustRow(Table):
    """One class, or the whole model: how far, what it leans on, how compactly it looks; ranks among the classes.

    Rank 1 is the most trusted: largest smallest change, largest background − object, smallest area.
    """

    name: str
    n: int
    epsilon: Reach | None
    epsilon_rank: int | None
    difference: Quantity | None
    difference_rank: int | None
    compactness: Quantity | None
    compactness_rank: int | None


class Trust(Table):
    """The components and what they were taken from; null where the run has none."""

    epsilon_of: str | None
    epsilon_norm: str | None
    difference_of: str | None
    compactness_of: str | None
    model: TrustRow
    classes: tuple[TrustRow, ...]
    difference_norm: str | None = None
