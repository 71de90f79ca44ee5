"""Trials of the measurement itself, on a few of the attacked images: raw counts, to be judged by the analysis.

They ask what an attacked table cannot answer: would twice the steps have found more, does noise find what gradients do
not, is there a gradient at all, does the model answer the same twice.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from demur.pipeline.job import IndexRows, Job
from demur.pipeline.sanity.answer_trials import answer_findings, gradient_findings, pixel_findings
from demur.pipeline.sanity.attack_trials import attack_findings, attacks_of, lead_of, reach_findings
from demur.pipeline.sanity.trial_sample import Finding, TrialSample

MOST = 128
_FEWEST = 48
_SHARE = 8


def sample_size(attacked: int) -> int:
    """How many images trials are made on: an eighth of the attacked ones, at least 48, at most 128.

    A trial costs an image about as many passes as the attacks do, so an eighth keeps trials near a tenth of the cost.
    """
    return min(MOST, max(_FEWEST, attacked // _SHARE))


def trials(job: Job, rows: IndexRows) -> dict[str, Any]:
    """Every trial that a plan has use for.

    Args:
        job: model, data and conditions; its surrogate's adversarial points are tried on the model.
        rows: index rows to try on, chosen by hash.

    Returns:
        The content of `facts/trials.json`: the findings with their samples, and what they cost in passes.
    """
    facts: dict[str, Any] = {"samples": len(rows), "trusted": job.plan.model.trust_labels}
    if job.surrogate is not None:
        facts["surrogate_sha256"] = job.surrogate.sha256
    if not len(rows):
        return {**facts, "forwards": 0, "backwards": 0, "findings": []}
    sample = TrialSample(job, rows)
    findings = [{**asdict(each), "count": len(each.samples)} for each in _all(sample, job)]
    return {**facts, "forwards": sample.forwards, "backwards": sample.backwards, "findings": findings}


def _all(sample: TrialSample, job: Job) -> Iterator[Finding]:
    found = job.scored
    yield from pixel_findings(sample)
    yield from answer_findings(sample)
    if not any(condition.attack for condition in found):
        return
    if all(attack.gradient_free for attack in attacks_of(found)) and job.classifier.gradient_fault:
        yield from reach_findings(found)
        return
    yield from gradient_findings(sample)
    yield from reach_findings(found)
    lead = lead_of(found)
    if lead is not None:
        blind = not any(attack.blind for attack in attacks_of(found))
        yield from attack_findings(sample, lead, blind=blind, surrogate=job.surrogate)
