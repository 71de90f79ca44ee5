"""Fitted policies: what they accept, why they decline, and their life as JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from demur import registry
from demur.errors import InputError, UnknownNameError
from demur.policies import (
    ACCEPT_ALL,
    Band,
    Certificate,
    CertifiedPair,
    CertifiedThreshold,
    ClassCertificate,
    CoverageBound,
    Look,
    Rule,
    SecondThreshold,
    SiteCertificate,
    Threshold,
    Tolerance,
    dump_policy,
    load_policy,
)
from demur.policies.certificate import Pool
from demur.policies.class_certificate import ClassCount
from demur.policies.site_certificate import SiteCount

CERTIFICATE = Certificate(
    threshold=0.125, risk=0.02, delta=0.05, level=0.025, m=4000, answered=2814, wrong=34, bound=0.0164, unit="image",
    grid=31, tests=40, procedure="fixed-sequence testing", near=3, tolerance=Tolerance(edges=(0.5,), widths=(0.0, 0.1)),
    look=Look(2, "runs"),
    coverage=CoverageBound(low=0.68, level=0.0045, n=4000, answered=2800, several=1, rows="test"),
)  # fmt: skip
POOLED = replace(CERTIFICATE, unit="group", pool=Pool(weighting="group", images=9000, image_risk=(0.02, 0.01, 0.04)))
BY_CLASS = ClassCertificate(
    threshold=0.25, risk=0.1, delta=0.05, level=0.04, near=2, tolerance=Tolerance(), unit="image", grid=90, tests=12,
    procedure="fixed-sequence testing", look=Look(), coverage=CERTIFICATE.coverage,
    classes=(
        ClassCount(name="ok", risk=0.1, n=900, answered=700, wrong=20, bound=0.04),
        ClassCount(name="not ok", risk=0.02, n=300, answered=100, wrong=1, bound=0.018),
    ),
)  # fmt: skip
SECOND = SecondThreshold(
    signal="knn(k=5)", uncertainty=0.7, budget=0.02, spent=0.019, purpose="attack", tolerance=Tolerance(relative=1e-7),
)  # fmt: skip
PAIR = replace(CERTIFICATE, second=SECOND)
FITTED = [
    PAIR.on("msp"),
    replace(POOLED, second=SECOND).on("msp"),
    POOLED.on("msp"),
    replace(CERTIFICATE, capacity=0.85).on("msp"),
    BY_CLASS.on("msp"),
    Threshold(),
    Band(signal="energy", low=-1.5, high=0.5),
    Threshold(signal="energy(temperature=2)", uncertainty=-3),
    Rule(entropy=0.5),
    CERTIFICATE.on("entropy"),
]


@pytest.mark.parametrize("policy", FITTED, ids=repr)
def test_a_policy_survives_json(policy):
    assert load_policy(json.loads(json.dumps(dump_policy(policy), allow_nan=False))) == policy


def test_thresholds_of_sites_survive_json():
    sites = (SiteCount(site="lab", certificate=CERTIFICATE), SiteCount(site="line", certificate=POOLED))
    made = SiteCertificate(column="place", risk=0.02, delta=0.1, sites=sites, refused={"truck": "20 labels are few"})
    policy = made.on("msp")
    assert load_policy(json.loads(json.dumps(dump_policy(policy), allow_nan=False))) == policy
    assert (made.m, made.images, made.answered, made.wrong) == (8000, 13000, 5628, 68)
    assert "Elsewhere it abstains. No threshold: truck." in made.sentence


@pytest.mark.parametrize(
    ("policy", "path", "value", "words"),
    [
        (POOLED, ("pool",), 3, "cannot read a stored pool of images"),
        (POOLED, ("pool", "image_risk"), 0.5, "image risk of a stored certificate must be a list; got 0.5"),
        (POOLED, ("look",), None, "cannot read a stored look"),
        (PAIR, ("second",), 3, "cannot read a stored second threshold"),
        (PAIR, ("second", "tolerance"), None, "a stored score tolerance"),
        (BY_CLASS, ("classes", 0), {"name": "ok"}, "cannot read a stored count of a class"),
        (BY_CLASS, ("classes",), None, "classes of a stored certificate must be a list"),
        (BY_CLASS, ("coverage",), [], "cannot read a stored bound on coverage"),
    ],
)
def test_a_part_of_a_certificate_that_is_none_is_named(policy, path, value, words):
    stored = json.loads(json.dumps(dump_policy(policy.on("msp"))))
    place = stored["certificate"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputError, match=words):
        load_policy(stored)


@pytest.mark.parametrize("sites", [[], 3, [{"site": "lab"}], None])
def test_a_certificate_by_site_without_sites_is_none(sites):
    certificate = {"column": "place", "risk": 0.02, "delta": 0.1, "sites": sites, "refused": {}}
    with pytest.raises(InputError, match="stored"):
        load_policy({"policy": "certified_by_site", "signal": "msp", "certificate": certificate})


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


def test_a_certificate_of_before_there_were_second_thresholds_is_read():
    stored = dump_policy(CERTIFICATE.on("msp"))
    del stored["certificate"]["second"]
    assert load_policy(stored) == CERTIFICATE.on("msp")


def test_a_certificate_of_two_thresholds_is_kept_by_both_alone():
    for policy, stored in (("certified", PAIR.on("msp")), ("certified_pair", CERTIFICATE.on("msp"))):
        with pytest.raises(InputError, match=r"two thresholds .* certificate\.on\(signal\)"):
            load_policy({**dump_policy(stored), "policy": policy})


def test_a_pair_answers_where_both_signals_are_low_and_names_what_it_suspects():
    policy = PAIR.on("msp")
    assert policy == CertifiedPair(signal="msp", certificate=PAIR)
    assert policy.signals == ("msp", "knn(k=5)")
    scores = {
        "msp": np.array([0.125, 0.126, 0.1, 0.2, 0.1, np.nan]),
        "knn(k=5)": np.array([0.7, 0.1, 0.71, 0.8, np.nan, 0.1]),
    }
    assert policy.accepts(scores).tolist() == [True, False, False, False, False, False]
    assert policy.reasons(scores).tolist() == [
        "", "low_confidence", "suspected_attack", "suspected_attack", "undefined_score", "undefined_score",
    ]  # fmt: skip


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
