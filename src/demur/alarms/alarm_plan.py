"""What a guard's alarms are to keep to: false alarms, tolerance, feedback, and what counts as one independent unit."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from demur.errors import InputError, unknown

Group: TypeAlias = Literal["image", "sequence"]
"""What is taken to be independent: every image, or sequences of images that may be alike within."""


@dataclass(frozen=True, kw_only=True)
class AlarmPlan:
    """What the alarms of one guard keep to, over the whole life of its stream.

    Attributes:
        alpha: the probability of a false alarm, of each alarm, however long the stream is.
        tolerance: by how much the share of images that go to a person may rise above that of the reference before it
            is a matter for the workload alarm; 0.03 is three images in a hundred.
        risk: the share of wrong answers among those given above which there is harm; None for that of the guard's
            certificate.
        feedback: the probability with which an image is asked about; 0 asks about none.
        group: `image`: images are independent of one another; `sequence`: sequences are.
        sequences: how many sequences may be open at once; another one ends the one that was silent longest. 1 where
            one follows the other.
        longest: images after which a sequence ends; what comes under its name later is counted and in no bet. With
            `sequence`, choose it as long as most sequences are, for a shorter one weighs in proportion.
        silence: seconds without an image after which a sequence ends.
        patience: seconds after which feedback that has not come counts as missing.
        missing: the share of missing feedback above which the harm alarm is void.
        memory: images whose decisions are kept, so that feedback on them has an answer to be compared with; questions
            are kept until they are overdue.
    """

    alpha: float = 0.01
    tolerance: float = 0.03
    risk: float | None = None
    feedback: float = 0.05
    group: Group = "image"
    sequences: int = 1
    longest: int = 100
    silence: float = 300.0
    patience: float = 7 * 86_400.0
    missing: float = 0.2
    memory: int = 100_000

    def __post_init__(self) -> None:
        if self.group not in get_args(Group):
            raise unknown("group of alarms", str(self.group), get_args(Group))
        self._shares()
        for name, count in (("sequences", self.sequences), ("longest", self.longest), ("memory", self.memory)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise InputError(f"`{name}` of alarms is a number of at least 1; got {count}.")
        for name, seconds in (("silence", self.silence), ("patience", self.patience)):
            if not (math.isfinite(seconds) and seconds > 0):
                raise InputError(f"`{name}` of alarms is a number of seconds above 0; got {seconds}.")

    def _shares(self) -> None:
        if not 0 < self.alpha <= 0.5:
            raise InputError(
                f"`alpha` is the probability of a false alarm, above 0 and at most 0.5; got {self.alpha}. Write 1 % as "
                "0.01."
            )
        for name, share in (("tolerance", self.tolerance), ("feedback", self.feedback), ("missing", self.missing)):
            if not 0 <= share <= 1:
                raise InputError(f"`{name}` of alarms is a share from 0 to 1; got {share}. Write 3 % as 0.03.")
        if self.risk is not None and not 0 < self.risk < 1:
            raise InputError(f"`risk` of alarms must lie strictly between 0 and 1; got {self.risk}. Write 2 % as 0.02.")

    @property
    def plain(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)
