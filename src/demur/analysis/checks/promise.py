"""The check of the promise on images that had no part in it."""

from collections.abc import Iterator

from demur.analysis.results import Check
from demur.analysis.run import Run, wrong
from demur.analysis.standing import standing
from demur.metrics import p_value

_LUCK = 0.01
"""Chance below which so many wrong answers are taken for a broken promise."""


def promise(run: Run) -> Iterator[Check]:
    """Whether as few answers are wrong on the test split as was promised."""
    if run.guard is None:
        return
    test = standing(run.rows("clean", "test"))
    accepted = test.filter(run.answered(run.guard, test))
    of_group = ", one image of each group" if run.guard.certificate.unit == "group" else ""
    errors, risk = int(wrong(accepted).sum()), run.guard.certificate.risk
    broken = bool(len(accepted)) and p_value(len(accepted) - errors, len(accepted), 1 - risk) < _LUCK
    yield Check(
        name="unseen images confirm the promise",
        state="fail" if broken else "warn" if errors > risk * len(accepted) else "pass",
        sentence=f"Wrong among the answered images of the untouched test split{of_group}",
        count=errors,
        of=len(accepted),
    )
