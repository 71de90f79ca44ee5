"""A certificate from a table of answers: the audit's own procedure, without a model and without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.errors import DataError, InputError, unknown
from demur.pipeline.table.answers import Answers
from demur.pipeline.table.table_splits import table_splits
from demur.policies import (
    AnyCertificate,
    Calibration,
    Capacity,
    Certified,
    CertifiedByClass,
    Classes,
    Look,
    Policy,
    Refusal,
    choose_signal,
    unlabelled_rows,
)
from demur.policies.look import FIRST_LOOK
from demur.policies.policy import Flags, Floats
from demur.policies.tolerance import FLOAT32_STEP, Tolerance
from demur.splits import FEWEST

STEP = Tolerance(relative=FLOAT32_STEP)
"""One float32 step: as far as a score moves that was stored in single precision, where nothing else is known."""

CHOOSING = 4_000
"""At most so many tune rows choose the signal: more would cost time and choose the same."""

Splits: TypeAlias = NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, eq=False)
class TableCertificate:
    """What a table supports.

    Attributes:
        signal: the score whose threshold it is.
        counts: rows of each split.
        answer: the certificate, or why there is none.
        test: units of the test rows, which had no part in the certificate.
        test_answered: how many of these are answered.
        test_wrong: how many of the answered ones are wrong.
    """

    signal: str
    counts: Mapping[str, int]
    answer: AnyCertificate | Refusal
    test: int
    test_answered: int
    test_wrong: int

    @property
    def policy(self) -> Policy | None:
        """What answers by the certificate; None where there is none."""
        return None if isinstance(self.answer, Refusal) else self.answer.on(self.signal)


TablePolicy: TypeAlias = Certified | CertifiedByClass | Capacity
"""What can be guaranteed from a table."""


def certify_table(
    answers: Answers,
    policy: TablePolicy,
    *,
    signal: str | None = None,
    tolerance: Tolerance = STEP,
    largest_weight: float | None = None,
    look: Look = FIRST_LOOK,
) -> TableCertificate:
    """Certify a threshold on the rows of a table.

    Args:
        answers: the table.
        policy: what is to be guaranteed.
        signal: one of `answers.signals`; by default msp, or the table's `score`, unless another ranks errors clearly
            better on tune rows.
        tolerance: how far a score may move when its image is asked again.
        largest_weight: the largest weight there can be, fixed before the rows were drawn; where the table has weights.
        look: which look at these labels this is.

    Raises:
        UnknownNameError: the table has no such signal.
        DataError: no row places thresholds, or none certifies.
        InputError: weights without their bound, or above it.
    """
    splits = table_splits(answers)
    chosen = _signal(answers, splits, signal)
    rows = _Rows(answers, answers.scores(chosen), _shares(answers, largest_weight), tolerance)
    tune, certify, test = (rows.of(splits == name) for name in ("tune", "certify", "test"))
    if not len(tune) or not len(certify):
        raise DataError(
            f"{answers.path} needs rows that place thresholds and rows that certify; its `split` gives {len(tune):,} "
            f"to tune and {len(certify):,} to certify. Call some tune, certify or val, or leave the column out."
        )
    bare = unlabelled_rows(test.scores, test, test.groups)
    if isinstance(policy, CertifiedByClass):
        labels = answers.label[splits == "certify"]
        answer: AnyCertificate | Refusal = policy.fit(tune, certify, Classes(answers.classes, labels), look, bare)
    else:
        answer = policy.fit(tune, certify, look, bare)
    units = test.one_per_group()
    answered = _answered(answer, chosen, units)
    return TableCertificate(
        signal=chosen,
        counts={str(name): int(count) for name, count in zip(*np.unique(splits, return_counts=True), strict=True)},
        answer=answer,
        test=len(units),
        test_answered=int(answered.sum()),
        test_wrong=int(units.wrong[answered].sum()),
    )


def _answered(answer: AnyCertificate | Refusal, signal: str, units: Calibration) -> Flags:
    if isinstance(answer, Refusal):
        return np.zeros(len(units), bool)
    return answer.on(signal).accepts({signal: units.scores})


@dataclass(frozen=True, eq=False)
class _Rows:
    """A table with the scores of one signal."""

    answers: Answers
    scores: Floats
    weights: Floats | None
    tolerance: Tolerance

    def of(self, rows: Flags) -> Calibration:
        """Some rows as what places and tests thresholds."""
        groups = None if self.answers.group is None else self.answers.group[rows]
        weights = None if self.weights is None else self.weights[rows]
        ids = None if groups is None else sample_ids(self.answers, rows)
        return Calibration(self.scores[rows], self.answers.wrong[rows], groups, ids, self.tolerance, weights)


def _shares(answers: Answers, largest: float | None) -> Floats | None:
    """The weights as shares of the largest that there can be."""
    if answers.weight is None:
        return None
    if largest is None or not answers.weight.max() <= largest < np.inf:
        raise InputError(
            f"the weights of {answers.path} need a bound that was fixed before the rows were drawn, at least their "
            f"largest, {answers.weight.max():g}; got {'none' if largest is None else f'{largest:g}'}. Give "
            "--largest-weight, or leave the column out."
        )
    return answers.weight / largest


def sample_ids(answers: Answers, some: Flags | None = None) -> list[str]:
    """The names of the rows, or of some of them, by default their numbers."""
    rows = np.arange(len(answers)) if some is None else np.flatnonzero(some)
    if answers.sample_id is None:
        return [f"row {number}" for number in answers.numbers[rows].tolist()]
    return [answers.sample_id[row] for row in rows.tolist()]


def _signal(answers: Answers, splits: Splits, wanted: str | None) -> str:
    """The signal that is wanted, if the table has it; else one chosen by tune rows alone.

    Below 600 rows it is fixed in advance.
    """
    if wanted is not None and wanted not in answers.signals:
        raise unknown("signal of the table", wanted, answers.signals)
    if wanted is not None:
        return wanted
    baseline = "msp" if "msp" in answers.signals else answers.signals[0]
    if len(answers.signals) == 1 or len(answers) < FEWEST:
        return baseline
    tune = np.flatnonzero(splits == "tune")
    if len(tune) > CHOOSING:
        tune = np.sort(tune[np.argpartition(answers.places[tune], CHOOSING)[:CHOOSING]])
    some = answers.rows(tune)
    scores = {name: some.scores(name) for name in answers.signals}
    return choose_signal(scores, some.wrong, some.group, baseline)
