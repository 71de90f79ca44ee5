"""Fitted policies: what they accept, why they decline, and their life as JSON."""

import json

import numpy as np
import pytest

from demur import registry
from demur.errors import InputError, UnknownNameError
from demur.policies import (
    ACCEPT_ALL,
    Certificate,
    CertifiedThreshold,
    CoverageBound,
    Look,
    Rule,
    Threshold,
    Tolerance,
    dump_policy,
    load_policy,
)

CERTIFICATE = Certificate(
    threshold=0.125, risk=0.02, delta=0.05, level=0.025, m=4000, answered=2814, wrong=34, bound=0.0164, unit="image",
    grid=31, tests=40, procedure="fixed-sequence testing", near=3, tolerance=Tolerance(edges=(0.5,), widths=(0.0, 0.1)),
    look=Look(2, "runs"),
    coverage=CoverageBound(low=0.68, level=0.0045, n=4000, answered=2800, several=1, rows="test"),
)  # fmt: skip
FITTED = [
    Threshold(),
    Threshold(signal="energy(temperature=2)", uncertainty=-3),
    Rule(entropy=0.5),
    CERTIFICATE.on("entropy"),
]


@pytest.mark.parametrize("policy", FITTED, ids=repr)
def test_a_policy_survives_json(policy):
    assert load_policy(json.loads(json.dumps(dump_policy(policy), allow_nan=False))) == policy


@pytest.mark.parametrize("policy", FITTED, ids=repr)
def test_what_is_accepted_has_no_reason_and_what_is_not_has_one(policy):
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(size=200) for name in policy.signals}
    scores[policy.signals[0]][:3] = [np.nan, np.inf, -np.inf]
    accepted = policy.accepts(scores)
    assert accepted.dtype == bool
    assert 0 < accepted.sum() < 200
    np.testing.assert_array_equal(policy.reasons(scores) == "", accepted)
    assert policy.reasons(scores)[0] == "undefined_score"
    assert not accepted[:2].any()


def test_a_threshold_accepts_its_own_score():
    policy = Threshold(uncertainty=0.4)
    scores = {"msp": np.array([0.4, np.nextafter(0.4, 1), 0.1])}
    assert policy.accepts(scores).tolist() == [True, False, True]
    assert policy.reasons(scores).tolist() == ["", "low_confidence", ""]


def test_the_rule_is_strict_on_both_sides():
    scores = {
        "msp": np.array([0.4, 0.41, 0.1, 0.5]),
        "entropy": np.array([1.0, 0.2, 1.01, 2.0]),
    }
    assert Rule().accepts(scores).tolist() == [True, False, False, False]
    assert Rule().reasons(scores).tolist() == ["", "low_confidence", "high_entropy", "low_confidence"]


def test_a_certified_threshold_applies_its_certificate():
    policy = CERTIFICATE.on("msp")
    assert policy == CertifiedThreshold(signal="msp", certificate=CERTIFICATE)
    assert policy.accepts({"msp": np.array([0.125, 0.126])}).tolist() == [True, False]


def test_accepting_all_accepts_every_finite_score():
    scores = {"energy": np.array([1e300, -1e300, np.inf, np.nan])}
    assert Threshold(signal="energy", uncertainty=ACCEPT_ALL).accepts(scores).tolist() == [True, True, False, False]


def test_a_missing_signal_is_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'entropy'"):
        Threshold(signal="entropi").accepts({"entropy": np.zeros(1)})


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"policy": "treshold"}, "Did you mean 'threshold'"),
        ({}, "unknown policy"),
        ({"policy": "rule", "confidence": 0.5}, "exactly confidence, entropy; got confidence"),
        ({"policy": "rule", "confidence": 0.5, "entropy": 1.0, "extra": 1}, "got confidence, entropy, extra"),
        ({"policy": "certified", "signal": "msp", "certificate": None}, "stored certificate"),
    ],
)
def test_a_broken_store_is_refused(stored, message):
    with pytest.raises(InputError, match=message):
        load_policy(stored)


def test_only_fitted_policies_are_stored():
    with pytest.raises(InputError, match="only a fitted policy"):
        dump_policy(registry.build("policy", "certified"))


@pytest.mark.parametrize(
    "text",
    [
        "threshold(uncertainty=1/0.0)",
        "rule(confidence=60)",
        "rule(entropy=-1)",
        "certified(risk=2)",
        "certified(delta=0)",
    ],
)
def test_a_field_out_of_range_is_refused(text):
    with pytest.raises(InputError):
        registry.build("policy", text)


def test_no_threshold_is_infinite_or_nan():
    for value in (np.inf, np.nan):
        with pytest.raises(InputError, match="must be finite"):
            Threshold(uncertainty=value)


def test_names_build_and_describe_policies():
    for text in ("certified(risk=0.01)", "rule(confidence=0.7)", "threshold(uncertainty=0.2)"):
        assert registry.describe(text.partition("(")[0], registry.build("policy", text)) == text
