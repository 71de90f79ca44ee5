"""What alarms say, in words: what is known, what it rests on, what it does not say."""

from collections.abc import Mapping

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
    least, most = counts.risk_if_unknown_right, counts.risk_if_unknown_wrong
    told = (
        f"{counts.wrong:,} of {counts.labels:,} labelled answers are wrong; {counts.missing:,} labels are missing and "
        f"{counts.waiting:,} may still come, so that the risk is {percent(least[0])} if all of these are right and "
        f"{percent(most[0])} if all are wrong "
        f"(95 % limits {percent(least[1])} and {percent(most[1])})"
    )
    if alarm:
        return (
            f"More than {percent(risk)} of the answers are wrong: {told}. Labels are tested in the order of their "
            "questions, and those that did not come count as right."
        )
    return f"No evidence that more than {percent(risk)} of the answers are wrong: {told}."


def void_words(counts: FeedbackCounts, plan: AlarmPlan) -> str:
    """Why the harm alarm cannot be relied on; empty where it can."""
    if plan.feedback == 0:
        return "The plan asks for no feedback."
    due = counts.labels + counts.missing
    if due >= FEWEST_DUE and counts.missing_share > plan.missing:
        return (
            f"{counts.missing:,} of {due:,} labels that should be there are missing, more than "
            f"{percent(plan.missing)}: that it is quiet says nothing until they come, for it may be that wrong answers "
            "are those left without a label."
        )
    older = due + counts.overtaken
    if older >= FEWEST_DUE and counts.missing + counts.overtaken > plan.missing * older:
        return (
            f"{counts.overtaken:,} questions are older than one that was answered and wait, more than "
            f"{percent(plan.missing)} with those that are missing: that it is quiet says nothing until they are "
            "answered."
        )
    return ""


def untested_words(sequences: Mapping[str, int]) -> str:
    """How many images are in no bet, after another sentence; empty where all are."""
    n = sequences["came_again"]
    if not n:
        return ""
    return f" {n:,} images that came under the name of a sequence that had ended are in no bet."


def unnamed_words(sequences: Mapping[str, int]) -> str:
    """Why alarms by sequence cannot be relied on where images have none; empty where all have one."""
    n = sequences["unnamed"]
    return (
        f"{n:,} images came without a sequence, and nothing is tested of them. Name the sequence of each." if n else ""
    )


def unlike_words(reference: Reference, plan: AlarmPlan) -> str:
    """Why the certificate's risk is none for sequences: it is of one image of each group, and labels are counted."""
    if plan.group == "image" or reference.unit != "group" or plan.risk is not None:
        return ""
    return (
        "The certificate's risk is of one image of each group, and the harm alarm by sequence counts every image. Give "
        "the risk of all images as `risk`."
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
    one = plan.group if plan.group == "image" else f"sequence of {plan.longest} images"
    some = f"{plan.group}s" if plan.group == "image" else f"sequences of {plan.longest} images"
    smallest = smallest_share(test, _WITHIN, quiet=quiet, before=before, alpha=plan.alpha)
    if smallest is None:
        return (
            f"From {reference.images:,} reference {reference.unit}s no rise can be told from chance within {_WITHIN:,} "
            f"{some}."
        )
    limit = share_beyond(test, alpha=plan.alpha)
    begin = f"After {quiet:,} quiet {some}" if quiet else f"From the first {one} on"
    return (
        f"{begin} a rise from {percent(before)} to {percent(smallest)} is found within "
        f"about {_WITHIN:,} {some} in half of all streams; a rise to {percent(limit)} or less is beyond it, "
        f"because {reference.images:,} reference {reference.unit}s and a tolerance of {percent(plan.tolerance)} let at "
        "most half of all streams find that, however long they are."
    )


def _harm_detectable(reference: Reference, plan: AlarmPlan) -> str:
    """How many labels twice the risk needs, from the first one on, and about how many images these are."""
    wealth = harm_of(reference, plan)
    risk, answers = float(wealth.bets.nulls[0]), plan.feedback * (1 - reference.share)
    if risk >= 0.5 or not answers or plan.group == "sequence":
        return ""
    test = WorkloadTest(np.ones(1), wealth)
    if (labels := detection(test, 2 * risk, quiet=0, before=risk, alpha=plan.alpha).images) is None:
        return ""
    return (
        f"A risk of {percent(2 * risk)} is found after about {labels:,} labels in half of all streams; these are the "
        f"labels of {labels / answers:,.0f} images."
    )
