"""The direction of error in a plan, checked against the classes before anything is measured."""

from collections.abc import Sequence

from demur.audit.plan import Plan
from demur.registry.direction import check_positive, read_costs, read_prevalence


def directed(plan: Plan, classes: Sequence[str]) -> Plan:
    """The plan with its positive class and prevalence in one spelling.

    Raises:
        InputError: a class that is none, a prevalence that is no share, or a cost of another form.
    """
    read_costs(plan.costs, classes)
    positive, prevalence = plan.data.positive, plan.data.prevalence
    if prevalence is not None:
        positive, share = read_prevalence(prevalence, positive)
        prevalence = f"positive={share:.8g}"
    if positive is not None:
        check_positive(positive, classes)
    data = plan.data.model_copy(update={"positive": positive, "prevalence": prevalence})
    return plan.model_copy(update={"data": data})
