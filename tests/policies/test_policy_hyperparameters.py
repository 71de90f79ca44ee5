"""What a policy is where a plan does not say, and where what it may be ends."""

import dataclasses
import math

import pytest

from demur.errors import InputError
from demur.policies import Band, Capacity, CertifiedByClass, CertifiedBySite, FittedRule, FittedThreshold
from demur.policies.certified import Certified
from demur.policies.policy import Rule, Threshold
from demur.policies.threshold_methods import METHODS


def test_what_a_plan_leaves_out_stays_what_it_was():
    """Names leave defaults out, so another default would be another policy under the old name."""
    one = {"second": None, "budget": 0.02, "purpose": "attack"}
    assert dataclasses.asdict(Certified()) == {"risk": 0.02, "delta": 0.05, "largest_group": None} | one
    assert dataclasses.asdict(CertifiedByClass()) == {"risk": 0.02, "delta": 0.05, "risks": ()}
    assert dataclasses.asdict(CertifiedBySite()) == {"risk": 0.02, "delta": 0.05, "column": "site"}
    assert dataclasses.asdict(Capacity()) == {"coverage": 0.85, "delta": 0.05} | one
    assert dataclasses.asdict(Rule()) == {"confidence": 0.6, "entropy": 1.0}
    assert dataclasses.asdict(FittedRule()) == {"recall": 0.9, "purpose": "error"}
    fitted = {"signal": "msp", "method": "target_fpr", "level": None, "purpose": "error"}
    assert dataclasses.asdict(FittedThreshold()) == fitted
    assert dataclasses.asdict(Band(low=0, high=1)) == {"signal": "msp", "low": 0, "high": 1}
    levels = {name: way.level for name, way in METHODS.items() if way.level is not None}
    assert levels == {"mean_sigma": 2, "mean_sigma_two_sided": 2, "percentile": 0.95, "target_coverage": 0.9,
                      "target_fpr": 0.05, "target_recall": 0.9}  # fmt: skip
    assert dataclasses.asdict(Threshold()) == {"signal": "msp", "uncertainty": 0.4}


@pytest.mark.parametrize(
    ("policy", "field", "allowed", "refused"),
    [
        (Certified, "risk", [1e-6, 0.999], [0.0, 1.0, -0.1, math.nan]),
        (Certified, "delta", [1e-6, 0.999], [0.0, 1.0, -0.1, math.nan]),
        (Certified, "largest_group", [None, 1, 60], [0, -1]),
        (CertifiedByClass, "risk", [1e-6, 0.999], [0.0, 1.0, math.nan]),
        (CertifiedByClass, "delta", [1e-6, 0.999], [0.0, 1.0, math.nan]),
        (CertifiedBySite, "risk", [1e-6, 0.999], [0.0, 1.0, math.nan]),
        (CertifiedBySite, "delta", [1e-6, 0.999], [0.0, 1.0, math.nan]),
        (Capacity, "coverage", [1e-6, 1.0], [0.0, 1.001, math.nan]),
        (Capacity, "delta", [1e-6, 0.999], [0.0, 1.0, math.nan]),
        (Rule, "confidence", [0.0, 1.0], [-0.001, 1.001, math.nan]),
        (Rule, "entropy", [0.0, math.inf], [-0.001, math.nan]),
        (Threshold, "uncertainty", [-1e300, 1e300], [math.inf, -math.inf, math.nan]),
    ],
)
def test_a_number_may_be_what_it_may_and_no_more(policy, field, allowed, refused):
    for value in allowed:
        assert getattr(policy(**{field: value}), field) == value
    for value in refused:
        with pytest.raises(InputError, match=f"`{field}`"):
            policy(**{field: value})


def test_a_rule_answers_at_its_numbers_and_names_low_confidence_first():
    rule = Rule(confidence=0.6, entropy=1.0)
    msp, entropy = [0.4, 0.41, 0.4, 0.41, math.nan], [1.0, 1.0, 1.01, 1.01, 0.5]
    scores = {"msp": msp, "entropy": entropy}
    assert rule.signals == ("msp", "entropy")
    assert rule.accepts(scores).tolist() == [True, False, False, False, False]
    reasons = ["", "low_confidence", "high_entropy", "low_confidence", "undefined_score"]
    assert rule.reasons(scores).tolist() == reasons


def test_a_threshold_answers_at_its_number():
    policy = Threshold(signal="energy", uncertainty=-2.0)
    scores = {"energy": [-2.0, -1.999, -3.0, math.nan], "msp": [9.0] * 4}
    assert policy.signals == ("energy",)
    assert policy.accepts(scores).tolist() == [True, False, True, False]
    assert policy.reasons(scores).tolist() == ["", "high_energy", "", "undefined_score"]
