"""The failure table: what each policy flags under each condition."""

from demur.analysis.results import PolicyRow, Quantity
from demur.analysis.run import Run, groups, wrong
from demur.metrics import failure_table


def policy_rows(run: Run) -> tuple[PolicyRow, ...]:
    """Every issued policy under every condition, over test rows."""
    rows = []
    for name, policy in run.policies.items():
        for entry in run.conditions():
            test = run.rows(entry["name"], "test")
            found = failure_table(run.answered(policy, test), wrong(test), groups(test))
            numbers = {key: Quantity.of(estimate) for key, estimate in vars(found).items()}
            rows.append(PolicyRow(policy=name, condition=entry["name"], n=len(test), **numbers))
    return tuple(rows)
