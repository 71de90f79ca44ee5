"""What a guarantee is about, counted on labelled rows, share by share, and whether they keep what was guaranteed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.metrics.binomial import clopper_pearson
from demur.policies.certified_policies import CertifiedPolicy
from demur.policies.class_certificate import ClassThreshold
from demur.policies.decision import decide
from demur.policies.fixed_sequence import Calibration
from demur.policies.policy import Flags, Scores
from demur.policies.site_certificate import SiteThresholds

Keeping: TypeAlias = Literal["holds", "broken", "undecided"]

FEWEST_ANSWERS = 20
"""A share of fewer answers is no ground for a judgement."""

GROUP = "group"


@dataclass(frozen=True)
class Part:
    """One share that a guarantee bounds by `risk`: `errors` of `of` independent units, of which `answers` are answered.

    `name` is the class or site that it is of, None where the guarantee is about all together. Of a class all units
    count, answered or not; else those answered.
    """

    name: str | None
    risk: float
    n: int
    answers: int
    errors: int
    of: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledScores:
    """Rows with their scores by signal, labels and whether the answers are wrong; groups and sites where there are any.

    `ids` decide which row stands for its group.
    """

    scores: Scores
    wrong: Flags
    labels: NDArray[np.int64]
    groups: NDArray[Any] | None = None
    ids: Sequence[str] | None = None
    sites: NDArray[Any] | None = None

    def rows(self, places: NDArray[Any]) -> "LabelledScores":
        """Some of the rows, by their places or by one flag per row."""
        kept = np.arange(len(self.wrong))[places]
        return LabelledScores(
            scores={name: np.asarray(score)[kept] for name, score in self.scores.items()},
            wrong=self.wrong[kept],
            labels=self.labels[kept],
            groups=None if self.groups is None else self.groups[kept],
            ids=None if self.ids is None else [self.ids[row] for row in kept],
            sites=None if self.sites is None else self.sites[kept],
        )

    @property
    def units(self) -> "LabelledScores":
        """One row of each group, chosen by its id alone as a certificate does; all rows where none has a group."""
        every = np.arange(len(self.wrong), dtype=np.float64)
        one = Calibration(scores=every, wrong=self.wrong, groups=self.groups, ids=self.ids).one_per_group()
        return self.rows(one.scores.astype(np.intp))


def parts_of(policy: CertifiedPolicy, rows: LabelledScores) -> tuple[Part, ...]:
    """The shares that the guarantee of a policy is about, on these rows."""
    return tuple(_parts(policy, rows))


def _parts(policy: CertifiedPolicy, rows: LabelledScores) -> Iterator[Part]:
    match policy:
        case ClassThreshold():
            for k, each in enumerate(policy.certificate.classes):
                yield _part(policy, each.name, each.risk, rows.rows(rows.labels == k).units, among_all=True)
        case SiteThresholds():
            sites = np.full(len(rows.wrong), None) if rows.sites is None else rows.sites
            for own in policy.certificate.sites:
                here = rows.rows(np.array([site is not None and str(site) == own.site for site in sites], bool))
                units = here if policy.column == GROUP else here.units
                yield _part(policy, own.site, policy.certificate.risk, units)
        case _:
            yield _part(policy, None, policy.certificate.risk, rows.units)


def _part(
    policy: CertifiedPolicy, name: str | None, risk: float, units: LabelledScores, *, among_all: bool = False
) -> Part:
    answered = decide(policy, units.scores, units.sites).accepted
    answers = int(answered.sum())
    return Part(
        name=name,
        risk=risk,
        n=len(answered),
        answers=answers,
        errors=int((answered & units.wrong).sum()),
        of=len(answered) if among_all else answers,
    )


def keeping(errors: int, of: int, risk: float, several: int = 1) -> Keeping:
    """Whether a share keeps a risk: by its exact 95 % interval, undecided where it straddles it.

    The interval holds for `several` shares at once.

    >>> [keeping(errors, 1000, 0.02) for errors in (5, 20, 60)]
    ['holds', 'undecided', 'broken']
    """
    found = clopper_pearson(errors, of, several)
    return "holds" if found.high <= risk else "broken" if found.low > risk else "undecided"


def judged(parts: tuple[Part, ...]) -> Keeping | None:
    """Whether a guarantee is kept: broken where one of its shares is, holds where all do; None on too few answers."""
    if sum(part.answers for part in parts) < FEWEST_ANSWERS:
        return None
    states = {keeping(part.errors, part.of, part.risk, len(parts)) for part in parts}
    return "broken" if "broken" in states else "undecided" if "undecided" in states else "holds"
