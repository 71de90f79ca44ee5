"""Trials of the measurement itself, on a few of the attacked images: raw counts, to be judged by the analysis.

They ask what an attacked table cannot answer: would twice the steps have found more, does noise find what gradients do
not, is there a gradient at all, does the model answer the same twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.attacks.ensemble import Ensemble
from demur.audit.conditions import Condition
from demur.audit.engine import Bench
from demur.audit.trials.answers import answers
from demur.audit.trials.attacks import attacks
from demur.audit.trials.gradients import gradients
from demur.audit.trials.lab import Finding, Lab
from demur.audit.trials.lead import lead_of, reach
from demur.audit.trials.pixels import pixels
from demur.audit.trials.surrogate import surrogate_of as surrogate_of
from demur.classifier import Classifier

MOST = 128
_FEWEST = 48
_SHARE = 8


def sample_size(attacked: int) -> int:
    """How many images trials are made on: an eighth of the attacked ones, at least 48, at most 128.

    A trial costs an image about as many passes as the attacks do, so an eighth keeps trials near a tenth of the cost.
    """
    return min(MOST, max(_FEWEST, attacked // _SHARE))


def trials(
    bench: Bench, found: Sequence[Condition], rows: NDArray[np.int64], surrogate: Classifier | None = None
) -> dict[str, Any]:
    """Every trial that a plan has use for.

    Args:
        bench: model and data.
        found: the conditions of the plan.
        rows: index rows to try on, chosen by hash.
        surrogate: a similar model, such as the one before hardening, whose adversarial points might carry over.

    Returns:
        The content of `facts/trials.json`: the findings with their samples, and what they cost in passes.
    """
    known: dict[str, Any] = {"samples": len(rows), "trusted": bench.plan.model.trust_labels}
    if surrogate is not None:
        known["surrogate_sha256"] = surrogate.sha256
    if not len(rows):
        return {**known, "forwards": 0, "backwards": 0, "findings": []}
    lab = Lab(bench, rows)
    findings = [{**asdict(each), "count": len(each.samples)} for each in _all(lab, found, surrogate)]
    return {**known, "forwards": lab.forwards, "backwards": lab.backwards, "findings": findings}


def _all(lab: Lab, found: Sequence[Condition], surrogate: Classifier | None) -> Iterator[Finding]:
    yield from pixels(lab)
    yield from answers(lab)
    if not any(condition.attack for condition in found):
        return
    yield from gradients(lab)
    yield from reach(found)
    lead = lead_of(found)
    if lead is not None:
        blind = not any(isinstance(c.attack, Ensemble) or c.family == "square" for c in found)
        yield from attacks(lab, lead, blind=blind, surrogate=surrogate)
