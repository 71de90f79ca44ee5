"""What an attack did to each row, as the harness measured it."""

from dataclasses import dataclass
from enum import IntFlag
from typing import Literal

from torch import Tensor

from demur.shapes import Flags, Images, Logits, Scores

Keep = Literal["first", "worst", "nearest"]


class Trouble(IntFlag):
    """What went wrong for a row; 0 is nothing.

    ZERO_GRADIENT: a step was taken from a gradient that is zero everywhere.
    NONFINITE_GRADIENT: a gradient held NaN or infinity.
    OUTSIDE: the point left the ball, the unit box or the finite numbers; the row keeps its clean image instead.
    UNCONFIRMED: the point fooled the model inside the loop and not when it was checked again, in a pass of its own or
    in float64; the row keeps its clean image instead.
    SILENT: a foreign attack showed the model a point that fooled it and returned one that does not.
    CRASHED: a foreign attack failed on the row's batch; the row keeps its clean image.
    """

    ZERO_GRADIENT = 1
    NONFINITE_GRADIENT = 2
    OUTSIDE = 4
    UNCONFIRMED = 8
    SILENT = 16
    CRASHED = 32


@dataclass(frozen=True)
class Outcome:
    """One entry per row, in the order given.

    `x` is the kept point and `logits` the model's answer there in a pass of its own; a row that never succeeded keeps
    its clean image under `first` and `nearest`. `closest` is its answer where success was nearest, kept or not. `linf`,
    `l2` and `l1` are measured on `x`. `step` is the number of advances after which the row first succeeded: −1 never, 0
    before any, being wrong already or where the attack began. `loss_start` and `loss_kept` are the objective at the
    row's first and kept point. `forwards` and `backwards` count what each row cost. `trace` (rows, looks) has the loss
    of every look, NaN after a row was done; it has no columns unless it was asked for. `reasons` says why a foreign
    attack failed on a row, "" where it did not; it is empty for demur's own.
    """

    x: Images
    logits: Logits
    closest: Logits
    fooled: Flags
    linf: Scores
    l2: Scores
    l1: Scores
    step: Tensor
    loss_start: Scores
    loss_kept: Scores
    forwards: Tensor
    backwards: Tensor
    troubles: Tensor
    trace: Tensor
    reasons: tuple[str, ...] = ()

    def size(self, norm: str) -> Scores:
        """The change of each row in a norm; of changes that have none of their own, the largest of any pixel."""
        return {"l2": self.l2, "l1": self.l1}.get(norm, self.linf)
