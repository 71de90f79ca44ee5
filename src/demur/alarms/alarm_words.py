"""What alarms say, in words: what is known, what it rests on, what it does not say."""

import numpy as np

from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_reference import Reference
from demur.alarms.detectable_rise import detection, share_beyond, smallest_share
from demur.alarms.feedback_book import FEWEST_DUE, FeedbackCounts
from demur.alarms.stream_evidence import harm_of, workload_of
from demur.alarms.workload_test import WorkloadTest

_WITHIN = 1500


def percent(share: float) -> str:
    """A share in 100 with three digits.

    >>> percent(0.2035)
    '20.3 in 100'
    """
    return f"{100 * share:.3g} in 100"


def workload_words(reference: Reference, plan: AlarmPlan, counts: dict[str, int], *, alarm: bool) -> str:
    """The state of the workload alarm."""
    n = counts["images"]
    so_far = f"{percent(counts['abstained'] / n)} of {n:,} images went to a person" if n else "no image so far"
    held = f"{percent(reference.share)} of {reference.images:,} reference {reference.unit}s did"
    what = f"more than {percent(plan.tolerance)} above the reference"
    if alarm:
        return f"More goes to a person than before, by {what}: {so_far}, {held}. This says nothing of wrong answers."
    return f"No evidence that the share that goes to a person is {what}: {so_far}, {held}."


def harm_words(risk: float, counts: FeedbackCounts, *, alarm: bool) -> str:
    """The state of the harm alarm."""
    if not counts.labels:
        return f"Nothing is known of wrong answers: none of {counts.questions:,} questions was answered."
    least, most = counts.risk_if_missing_right, counts.risk_if_missing_wrong
    told = (
        f"{counts.wrong:,} of {counts.labels:,} labelled answers are wrong; {counts.missing:,} labels are missing, so "
        f"that the risk is {percent(least[0])} if all of these are right and {percent(most[0])} if all are wrong "
        f"(95 % limits {percent(least[1])} and {percent(most[1])})"
    )
    if alarm:
        return (
            f"More than {percent(risk)} of the answers are wrong: {told}. This holds if whether a label comes, and "
            "when, has nothing to do with whether the answer is wrong."
        )
    return f"No evidence that more than {percent(risk)} of the answers are wrong: {told}."


def void_words(counts: FeedbackCounts, plan: AlarmPlan) -> str:
    """Why the harm alarm cannot be relied on; empty where it can."""
    if plan.feedback == 0:
        return "The plan asks for no feedback."
    due = counts.labels + counts.missing
    if due < FEWEST_DUE or counts.missing_share <= plan.missing:
        return ""
    return (
        f"{counts.missing:,} of {due:,} labels that should be there are missing, more than {percent(plan.missing)}: "
        "the harm alarm is void until they come, for it may be that wrong answers are those that nobody labels."
    )


def martingale_words(*, unusual: bool) -> str:
    """What the martingale says, which is no alarm."""
    found = (
        "Scores do not come in the order that chance would bring: images or their order have changed"
        if unusual
        else "Scores come in an order that chance could bring"
    )
    return f"{found}. This is information, and no alarm: it tells neither more work nor harm."


def detectable_words(reference: Reference, plan: AlarmPlan, quiet: int) -> str:
    """What the alarms can find how soon, after so many quiet units."""
    return f"{_workload_detectable(reference, plan, quiet)} {_harm_detectable(reference, plan)}".strip()


def _workload_detectable(reference: Reference, plan: AlarmPlan, quiet: int) -> str:
    test, before = workload_of(reference, plan), reference.share
    smallest = smallest_share(test, _WITHIN, quiet=quiet, before=before, alpha=plan.alpha)
    if smallest is None:
        return (
            f"From {reference.images:,} reference {reference.unit}s no rise can be told from chance within {_WITHIN:,} "
            f"{plan.group}s."
        )
    limit = share_beyond(test, alpha=plan.alpha)
    begin = f"After {quiet:,} quiet {plan.group}s" if quiet else f"From the first {plan.group} on"
    return (
        f"{begin} a rise from {percent(before)} to {percent(smallest)} is found within "
        f"about {_WITHIN:,} {plan.group}s in half of all streams; a rise to {percent(limit)} or less is beyond it, "
        f"because {reference.images:,} reference {reference.unit}s and a tolerance of {percent(plan.tolerance)} let at "
        "most half of all streams find that, however long they are."
    )


def _harm_detectable(reference: Reference, plan: AlarmPlan) -> str:
    """How many labels twice the risk needs, from the first one on, and about how many images these are."""
    wealth = harm_of(reference, plan)
    risk, answers = float(wealth.bets.nulls[0]), plan.feedback * (1 - reference.share)
    if risk >= 0.5 or not answers:
        return ""
    test = WorkloadTest(np.ones(1), wealth)
    if (labels := detection(test, 2 * risk, quiet=0, before=risk, alpha=plan.alpha).images) is None:
        return ""
    return (
        f"A risk of {percent(2 * risk)} is found after about {labels:,} labels in half of all streams; these are the "
        f"labels of {labels / answers:,.0f} images."
    )
