"""Whether a guarantee says more than one of a constant answer would, and what is guaranteed of the positive class."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Flags, Run, independent_rows, share
from demur.metrics import p_value, risk_upper_bound
from demur.policies import (
    Certificate,
    CertifiedPair,
    CertifiedPolicy,
    CertifiedThreshold,
    ClassThreshold,
    SiteThresholds,
)
from demur.records import wrong

Alike: TypeAlias = Literal["everywhere", "answered"]


class ConstantAnswer(Table):
    """One and the same answer to every image, put through the test of the certificate.

    `answer` is the most frequent class of the tune images. Of `n` certify units (`unit`) `others` are of other classes.
    `alike` says where it gets the same guarantee: `everywhere` when it answers every image, `answered` on the images
    that the guard answers; null where it gets none.
    """

    answer: str
    n: int
    others: int
    unit: Literal["image", "group"]
    alike: Alike | None


class PositiveBound(Table):
    """How many images of the positive class are answered and wrong, of all of them; abstaining is no error.

    Of `n` test units of the class `wrong_answers` are; with probability 1 − `delta` over them the share is at most
    `bound` (Clopper & Pearson, 1934), at a threshold chosen without them. `coverage` is the share of all test units
    answered: a constant answer that abstains at random would be answered and wrong as often, so a bound that does not
    lie below its interval is `informative` of nothing. `labels` counts the certify units of the class. Without a guard
    there is no bound.
    """

    positive: str
    labels: int
    n: int
    unit: Literal["image", "group"]
    wrong_answers: int | None
    bound: float | None
    delta: float | None
    rate: Quantity | None
    coverage: Quantity | None
    informative: bool


def constant_answer(run: Run) -> ConstantAnswer | None:
    """The most frequent class as the only answer; None where nothing was certified or no row could choose it."""
    tune, certify = run.rows("clean", "tune"), run.rows("clean", "certify")
    if run.guard is None or tune.is_empty() or certify.is_empty():
        return None
    answer = int(np.bincount(tune["label"].to_numpy(), minlength=len(run.classes)).argmax())
    units = independent_rows(certify)
    others = (units["label"] != answer).to_numpy()
    return ConstantAnswer(
        answer=run.classes[answer],
        n=len(units),
        others=int(others.sum()),
        unit=run.guard.certificate.unit,
        alike=_alike(run, run.guard, units, others),
    )


def _alike(run: Run, guard: CertifiedPolicy, units: pl.DataFrame, others: Flags) -> Alike | None:
    """Where a constant answer that is wrong on `others` passes the tests that the certified policy passed.

    A guarantee for every class it never gets: of the other classes it answers nothing right.
    """
    if isinstance(guard, ClassThreshold):
        return None
    everyone = np.ones(len(units), bool)
    if all(_passes(made, others[rows]) for made, rows in _tests(run, guard, units, everyone)):
        return "everywhere"
    answered = run.accepts(guard, units)
    return (
        "answered" if all(_passes(made, others[rows]) for made, rows in _tests(run, guard, units, answered)) else None
    )


def _tests(
    run: Run, guard: CertifiedThreshold | CertifiedPair | SiteThresholds, units: pl.DataFrame, rows: Flags
) -> Iterator[tuple[Certificate, Flags]]:
    """Each certificate with the rows that its test is about: one for all, or one at each site."""
    if not isinstance(guard, SiteThresholds):
        yield guard.certificate, rows
        return
    sites = run.sites(guard.column, units).to_numpy()
    for each in guard.certificate.sites:
        yield each.certificate, rows & (sites == each.site)


def _passes(made: Certificate, errors: Flags) -> bool:
    return bool(p_value(int(errors.sum()), len(errors), made.risk) <= made.level)


def positive_bound(run: Run, positive: str | None) -> PositiveBound | None:
    """What can be said of the positive class; None where the plan names none."""
    if positive is None:
        return None
    k = run.classes.index(positive)
    test, certify = (independent_rows(run.rows("clean", split)) for split in ("test", "certify"))
    own = test.filter(pl.col("label") == k)
    found = PositiveBound(
        positive=positive,
        labels=int((certify["label"] == k).sum()),
        n=len(own),
        unit="image" if run.facts["groups"] is None else "group",
        wrong_answers=None,
        bound=None,
        delta=None,
        rate=None,
        coverage=None,
        informative=False,
    )
    return found if run.guard is None else found.model_copy(update=_bounded(run, test, own))


def _bounded(run: Run, test: pl.DataFrame, own: pl.DataFrame) -> dict[str, object]:
    assert run.guard is not None
    delta = run.guard.certificate.delta
    errors = run.accepts(run.guard, own) & wrong(own)
    coverage = share(run.accepts(run.guard, test), test)
    bound = risk_upper_bound(int(errors.sum()), len(own), delta) if len(own) else 1.0
    return {
        "wrong_answers": int(errors.sum()),
        "bound": bound,
        "delta": delta,
        "rate": share(errors, own),
        "coverage": coverage,
        "informative": bool(bound < coverage.low),
    }


_MOST = 10_000_000


def positive_labels_needed(found: PositiveBound) -> int | None:
    """About how many test images of the class would make the bound informative at the rate seen; None where none would.

    Twice the number at each step, so no more than twice too many.
    """
    rate, coverage, n = found.rate, found.coverage, max(1, found.n)
    if rate is None or coverage is None or found.delta is None or not rate.value < coverage.low:
        return None
    while n < _MOST and not risk_upper_bound(round(rate.value * n), n, found.delta) < coverage.low:
        n *= 2
    return n


def is_uninformative(constant: ConstantAnswer | None, positive: PositiveBound | None) -> bool:
    """Whether a certificate shows no more than one of a constant answer would."""
    if positive is not None:
        return not positive.informative
    return constant is not None and constant.alike == "everywhere"


def remedy_words(constant: ConstantAnswer | None, positive: PositiveBound | None) -> str:
    """What to do about a certificate that says no more than one of a constant answer."""
    if positive is not None:
        needed, name = positive_labels_needed(positive), positive.positive
        if needed is None:
            return f"Improve the model on images of “{name}”: it answers them wrong as often as others are answered."
        return f"Label more images of “{name}” (about {needed:,} to test on), or improve the model on them."
    seen = "" if constant is None or not constant.n else f" than {100 * constant.others / constant.n:.2g} %"
    return f"Name the class that must not be missed (data.positive), or ask for a smaller risk{seen}."
