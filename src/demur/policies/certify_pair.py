"""The guarantee about two thresholds at once: the second is fixed, and the first is certified behind it."""

from dataclasses import replace

from demur.policies.capacity import Capacity
from demur.policies.certificate import Certificate, Refusal
from demur.policies.certified import Certified
from demur.policies.coverage_bound import CoverageBound, bound_coverage
from demur.policies.look import FIRST_LOOK, Look
from demur.policies.second_threshold import BUDGET, PairRows, SecondThreshold


def alone(policy: Certified | Capacity) -> Certified | Capacity:
    """The same policy about the first threshold alone."""
    return replace(policy, second=None, budget=BUDGET, purpose="attack")


def certify_pair(
    policy: Certified | Capacity,
    second: SecondThreshold,
    tune: PairRows,
    certify: PairRows,
    look: Look = FIRST_LOOK,
    unlabelled: PairRows | None = None,
) -> Certificate | Refusal:
    """What can be guaranteed of rows that pass both thresholds, by the policy's own procedure.

    A row that the second threshold withholds is one whose first score is infinite, so every test and every bound is of
    the conjunction. The second threshold must follow from the tune rows, or from no labelled row at all.

    Args:
        policy: what is to be guaranteed.
        second: the second threshold.
        tune: rows that place the first threshold.
        certify: rows that test it.
        look: which look at these labels this is.
        unlabelled: rows that chose nothing and whose flags are not read; their scores bound the coverage.
    """
    bare = None if unlabelled is None else unlabelled.surely_screened(second)
    found = alone(policy).fit(tune.screened(second), certify.screened(second), look, bare)
    if isinstance(found, Refusal):
        return replace(found, sentence=f"{found.sentence} This is of answers where the second score is {second.words}.")
    return replace(
        found,
        coverage=_coverage(found, second, certify),
        near=certify.near(found.threshold, second, one_per_group=found.pool is None),
        procedure=f"{found.procedure}; of both thresholds together, the one on {second.signal} fixed on tune rows",
        second=second,
    )


def _coverage(found: Certificate, second: SecondThreshold, certify: PairRows) -> CoverageBound:
    """The bound on coverage, in which no row near the second threshold is answered, whether it was right or wrong.

    That of unlabelled rows is so already, for none of them is called wrong.
    """
    made = found.coverage
    if made.rows == "test":
        return made
    surely = certify.surely_screened(second).one_per_group()
    return bound_coverage(found.threshold, made.level, surely, made.several)
