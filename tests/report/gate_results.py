"""Gates of all three outcomes, and labels that were opened before one of them was changed."""

from demur.analysis.acceptance import judge_gates
from demur.analysis.verdict.verdict_tables import LabelAccess
from tests.report.example_results import run

RULES = {
    "clean.accuracy": ">= 0.9",
    "worst_class.accuracy": ">= 0.75",
    "robust.accuracy": ">= 0.5",
    "guarantee.issued": "true",
    "signals.msp.auroc": ">= 0.915",
    "checks.failed": "<= 0",
}


def label_access(*gate_changes):
    return LabelAccess(
        certify=2,
        test=3,
        first_certify="2026-03-02T10:14:12.000000+00:00",
        first_test="2026-03-02T10:15:40.000000+00:00",
        plans=2,
        models=1,
        sentence="Test opened 3 times, under 2 plans and for 1 model, first on 2026-03-02 10:15 UTC",
        gate_changes=gate_changes,
    )


def gated(rules=None, state="issued", gate_changes=()):
    """Results with gates judged on their own numbers."""
    results = run(state)
    rows = judge_gates(RULES if rules is None else rules, results)
    return results.model_copy(update={"gates": rows, "label_access": label_access(*gate_changes)})
