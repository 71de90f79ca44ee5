"""What stricter limits on wrong answers would ask for: labels to prove them, and the coverage they leave."""

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Run, score
from demur.metrics.ranking_intervals import coverage_at_risk_interval
from demur.policies.label_budget import LabelBudget
from demur.records import groups, wrong

RISKS = (0.01, 0.005)
"""At most 1 and ½ of 100 answers wrong; those not stricter than what the plan asks for are left out."""


class LabelNeed(Table):
    """What it takes to guarantee that at most `risk` of the answers are wrong, with `delta` to fail, on fresh labels.

    With fewer than `fewest` certify labels not even a model without errors passes; with `labels` of them nine of ten
    pass whose surest answers are four times as good as asked, whatever else the model does, and `images` is how many
    must be labelled in all, since others place the threshold and check it. All count the `unit`. `labels_given` is how
    many certified here. `coverage` is the share of test images that can be answered at this risk, by `signal`, if every
    label were known: what is left of the coverage at best. It is 0 where no threshold would do: then the model, and
    no number of labels, is what is missing.
    """

    risk: float
    delta: float
    signal: str
    fewest: int
    labels: int
    images: int
    labels_given: int
    coverage: Quantity


def label_needs(run: Run) -> tuple[LabelNeed, ...]:
    """Of the risks that are stricter than that of the first guarantee of the plan; nothing where it has none."""
    if run.guard is not None:
        signal, risk, delta, given = run.guard.signal, *_levels(run)
    elif run.refusal is not None:
        signal, risk, delta = (run.refusal[name] for name in ("signal", "risk", "delta"))
        given = run.refusal["labels_given"]
    else:
        return ()
    if signal not in run.signals:
        return ()
    rows = run.unfitted_rows()
    ours = score(rows, signal), wrong(rows), groups(rows)
    return tuple(
        _need(stricter, delta, signal, given, Quantity.of(coverage_at_risk_interval(*ours, risk=stricter)))
        for stricter in RISKS
        if stricter < risk
    )


def _levels(run: Run) -> tuple[float, float, int]:
    assert run.guard is not None
    made = run.guard.certificate
    return made.risk, made.delta, made.m


def _need(risk: float, delta: float, signal: str, given: int, coverage: Quantity) -> LabelNeed:
    budget = LabelBudget(risk=risk, delta=delta)
    return LabelNeed(
        risk=risk,
        delta=delta,
        signal=signal,
        fewest=budget.faultless,
        labels=budget.probable,
        images=budget.images(budget.probable),
        labels_given=given,
        coverage=coverage,
    )
