"""A certificate from a table of answers: the audit's own procedure, without a model and without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.errors import DataError, unknown
from demur.pipeline.table.answers import Answers
from demur.pipeline.table.table_splits import places, table_splits
from demur.policies import Calibration, Certificate, Certified, Look, Refusal, choose_signal, unlabelled_rows
from demur.policies.policy import Flags
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
        test_answered: how many test units the threshold answers.
        test_wrong: how many of these are wrong; the test rows had no part in the certificate.
    """

    signal: str
    counts: Mapping[str, int]
    answer: Certificate | Refusal
    test_answered: int
    test_wrong: int


def certify_table(
    answers: Answers,
    policy: Certified,
    *,
    signal: str | None = None,
    tolerance: Tolerance = STEP,
    look: Look = Look(),  # noqa: B008 - frozen
) -> TableCertificate:
    """Certify a threshold on the rows of a table.

    Args:
        answers: the table.
        policy: what is to be guaranteed.
        signal: one of `answers.signals`; by default msp, or the table's `score`, unless another ranks errors clearly
            better on tune rows.
        tolerance: how far a score may move when its image is asked again.
        look: which look at these labels this is.

    Raises:
        UnknownNameError: the table has no such signal.
        DataError: no row places thresholds.
    """
    splits = table_splits(answers)
    chosen = _chosen(answers, splits) if signal is None else signal
    if chosen not in answers.signals:
        raise unknown("signal of the table", chosen, answers.signals)
    scores = answers.scores(chosen)
    tune, certify = (rows_of(answers, scores, splits == name, tolerance) for name in ("tune", "certify"))
    if not len(tune):
        raise DataError(
            f"{answers.path} has no row that places thresholds: its `split` calls none tune or val. Call some so, or "
            "leave the column out."
        )
    test = rows_of(answers, scores, splits == "test", tolerance)
    bare = unlabelled_rows(test.scores, test, test.groups)
    answer = policy.fit(tune, certify, look, bare)
    threshold = answer.threshold if isinstance(answer, Certificate) else -np.inf
    units = test.one_per_group()
    given = units.scores <= threshold
    return TableCertificate(
        signal=chosen,
        counts={str(name): int(count) for name, count in zip(*np.unique(splits, return_counts=True), strict=True)},
        answer=answer,
        test_answered=int(given.sum()),
        test_wrong=int(units.wrong[given].sum()),
    )


def rows_of(answers: Answers, scores: NDArray[np.float64], rows: Flags, tolerance: Tolerance = STEP) -> Calibration:
    """Some rows as what places and tests thresholds."""
    groups = None if answers.group is None else answers.group[rows]
    return Calibration(scores[rows], answers.wrong[rows], groups, tolerance=tolerance)


def _chosen(answers: Answers, splits: Splits) -> str:
    """The signal, by tune rows alone; below 600 rows it is fixed in advance."""
    baseline = "msp" if "msp" in answers.signals else answers.signals[0]
    if len(answers.signals) == 1 or len(answers) < FEWEST:
        return baseline
    tune = np.flatnonzero(splits == "tune")
    if len(tune) > CHOOSING:
        tune = np.sort(tune[np.argpartition(places(answers)[tune], CHOOSING)[:CHOOSING]])
    some = answers.rows(tune)
    scores = {name: some.scores(name) for name in answers.signals}
    return choose_signal(scores, some.wrong, some.group, baseline)
