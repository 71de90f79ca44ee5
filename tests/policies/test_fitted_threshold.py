"""Thresholds fitted on tune rows: by their definition, and true to their target on other rows."""

import math

import numpy as np
import pytest
from scipy.stats import betabinom
from tests.policies.slow_thresholds import DEFAULTS, METHODS

from demur.errors import InputError, UnknownNameError
from demur.policies import Band, FittedRule, FittedThreshold, Rule, Threshold, decide
from demur.policies.threshold_methods import METHODS as PLACED
from demur.policies.tolerance import Tolerance

CASES = [(method, level) for method, (_, levels) in METHODS.items() for level in levels]


def fit(negative, positive=(), **fields):
    return FittedThreshold(**fields).fit({"msp": np.asarray(negative, float)}, {"msp": np.asarray(positive, float)})


def rows(seed, *, ties):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, 60), rng.normal(1.5, 1, 25)
    return [np.round(each, 1) if ties else each for each in scores]


def test_every_method_has_a_slow_reference():
    assert set(METHODS) == set(PLACED)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("method", "level"), CASES)
def test_a_threshold_is_that_of_the_slow_reference(method, level, seed, ties):
    """It flags the same rows; where it is a number of moments it is the same number."""
    negative, positive = rows(seed, ties=ties)
    slow = METHODS[method][0](negative.tolist(), positive.tolist(), level or DEFAULTS.get(method))
    policy = fit(negative, positive, method=method, level=level).policy
    high = policy.high if isinstance(policy, Band) else policy.uncertainty
    for scores in (negative, positive):
        np.testing.assert_array_equal(scores > high, scores > slow)
    if method in {"mean_sigma", "mean_sigma_two_sided", "midpoint", "percentile"}:
        assert high == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize(
    ("method", "level", "negative", "positive", "uncertainty"),
    [
        ("youden", None, [0] * 10 + [2] * 10, [1] * 10 + [3] * 10, 2.5),
        ("balanced_recall", None, [0] * 5 + [2] * 5, [0] * 2 + [2] + [4] * 7, 3),
        ("target_coverage", 0.9, range(20), [], 17.5),
    ],
)
def test_of_several_that_are_as_good_it_takes_the_one_it_says(method, level, negative, positive, uncertainty):
    assert fit(list(negative), positive, method=method, level=level).policy.uncertainty == uncertainty


def test_both_sides_are_as_far_from_the_mean():
    negative, positive = rows(0, ties=False)
    policy = fit(negative, positive, method="mean_sigma_two_sided", level=1.5).policy
    assert (policy.low + policy.high) / 2 == pytest.approx(negative.mean())
    assert policy.high - policy.low == pytest.approx(3 * negative.std(ddof=1))


def test_what_it_says_of_the_tune_rows_is_what_it_does_to_them():
    negative, positive = rows(3, ties=False)
    found = fit(negative, positive, method="target_fpr", level=0.1)
    bound = found.policy.uncertainty
    assert (found.negatives, found.positives) == (60, 25)
    assert found.fpr == np.mean(negative > bound) == 0.1
    assert found.recall == np.mean(positive > bound)
    said = f"it flags 10 % of 60 right answers and {100 * found.recall:.3g} % of 25 wrong answers there."
    assert said in found.sentence
    assert "Nothing is guaranteed" in found.sentence
    assert fit(negative, method="percentile", purpose="shift").recall is None


def test_a_row_without_a_score_is_flagged_by_every_threshold_and_counted_so():
    negative = np.append(np.arange(96.0), [np.nan] * 4)
    assert fit(negative, method="target_fpr", level=0.06).policy.uncertainty == 93.5
    assert fit(negative, method="mean_sigma").policy.uncertainty == pytest.approx(
        47.5 + 2 * np.arange(96.0).std(ddof=1)
    )
    with pytest.raises(InputError, match=r"no threshold flags as few as 0\.03"):
        fit(negative, method="target_fpr", level=0.03)


@pytest.mark.parametrize(
    ("method", "level", "negatives", "positives", "words"),
    [
        ("target_fpr", 0.01, 99, 50, "needs at least 100 right answers of split tune"),
        ("target_coverage", 0.99, 99, 0, "needs at least 100 right answers"),
        ("percentile", 0.98, 49, 0, "needs at least 50 right answers"),
        ("mean_sigma", None, 9, 0, "needs at least 10 right answers"),
        (
            "youden",
            None,
            90,
            9,
            "needs at least 10 wrong answers of split tune with a finite score of 'msp'; there are 9",
        ),
        ("midpoint", None, 9, 90, "needs at least 10 right answers"),
    ],
)
def test_too_few_tune_rows_are_refused_with_their_number(method, level, negatives, positives, words):
    """One row more of the kind is enough."""
    rng = np.random.default_rng(0)
    one_more = {"right": (1, 0), "wrong": (0, 1)}["wrong" if "wrong" in words else "right"]
    with pytest.raises(InputError, match=words):
        fit(rng.normal(size=negatives), 9 + rng.normal(size=positives), method=method, level=level)
    assert fit(
        rng.normal(size=negatives + one_more[0]),
        9 + rng.normal(size=positives + one_more[1]),
        method=method,
        level=level,
    )


@pytest.mark.parametrize("method", ["youden", "midpoint", "balanced_recall", "target_recall", "least_fpr_fnr"])
def test_a_signal_that_falls_where_it_should_rise_is_refused(method):
    negative, positive = rows(0, ties=False)
    with pytest.raises(InputError, match="no higher on successfully attacked"):
        fit(positive, negative, method=method, purpose="attack")


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"method": "percentil"}, UnknownNameError, "Did you mean 'percentile'"),
        ({"purpose": "unknown"}, UnknownNameError, "unknown purpose"),
        ({"method": "youden", "level": 0.5}, InputError, "takes no `level`"),
        ({"method": "target_fpr", "level": 1.0}, InputError, "`level`"),
        ({"method": "percentile", "level": 0.0}, InputError, "`level`"),
        ({"method": "mean_sigma", "level": math.nan}, InputError, "`level`"),
        ({"method": "mean_sigma", "level": -1.0}, InputError, "`level`"),
    ],
)
def test_a_field_that_cannot_be_is_refused(fields, error, words):
    with pytest.raises(error, match=words):
        FittedThreshold(**fields)


def test_a_band_answers_between_its_ends_and_is_near_either():
    band = Band(signal="energy", low=-1.0, high=2.0)
    scores = {"energy": np.array([-1.0, 2.0, -1.01, 2.01, 0.0, np.nan])}
    made = decide(band, scores, tolerances={"energy": Tolerance(widths=(0.1,))})
    assert made.accepted.tolist() == [True, True, False, False, True, False]
    assert made.reasons.tolist() == ["", "", "unusually_low_energy", "high_energy", "", "undefined_score"]
    assert made.near.tolist() == [True, True, True, True, False, False]
    np.testing.assert_allclose(made.distances["energy"], [0, 0, -0.01, -0.01, 1, np.nan])
    for low, high in ((1.0, 0.0), (math.nan, 1.0), (0.0, math.inf)):
        with pytest.raises(InputError, match="`low`"):
            Band(low=low, high=high)


def pair(seed, count, shift):
    rng = np.random.default_rng(seed)
    msp = np.clip(rng.beta(1, 8, count) + shift, 0, 1)
    return {"msp": msp, "entropy": 2 * msp + 0.3 * rng.random(count)}


@pytest.mark.parametrize("recall", [0.3, 0.8, 0.95, 1.0])
def test_a_rule_flags_as_few_right_answers_as_its_recall_takes(recall):
    """Against all rules whose halves flag the same number, tried one by one."""
    right, errors = pair(0, 150, 0.0), pair(1, 40, 0.15)
    found = FittedRule(recall=recall).fit(right, errors)
    for alarms in range(151):
        bounds = {}
        for name, scores in right.items():
            ordered = sorted(scores)
            places = ordered[149 - alarms : 151 - alarms] if alarms < 150 else [math.nextafter(ordered[0], -1)]
            bounds[name] = sum(places) / len(places)
        caught = np.mean((errors["msp"] > bounds["msp"]) | (errors["entropy"] > bounds["entropy"]))
        if caught >= recall:
            break
    assert isinstance(found.policy, Rule)
    assert found.policy.bounds == pytest.approx(bounds, rel=1e-9)
    assert found.recall == caught
    assert recall <= caught


def test_a_rule_needs_errors():
    with pytest.raises(InputError, match="at least 10 wrong answers of split tune with finite scores; there are 9"):
        FittedRule().fit(pair(0, 150, 0.0), pair(1, 9, 0.1))
    for recall in (0.0, 1.01, math.nan):
        with pytest.raises(InputError, match="`recall`"):
            FittedRule(recall=recall)
    with pytest.raises(UnknownNameError, match="unknown purpose"):
        FittedRule(purpose="other")


REDRAWS = 1000


@pytest.mark.parametrize(("tune", "test"), [(300, 500), (1500, 4000)])
@pytest.mark.parametrize(
    ("method", "level", "flagged"),
    [("target_fpr", 0.05, 0.05), ("target_coverage", 0.8, 0.2), ("percentile", 0.9, 0.1), ("target_recall", 0.7, 0.7)],
)
def test_a_target_met_on_tune_rows_is_met_on_others_as_often_as_two_samples_agree(method, level, flagged, tune, test):
    """With j of m tune rows above the threshold, k of n others are beta-binomial(n, j, m + 1 − j)."""
    rng = np.random.default_rng(5)
    above = round(flagged * tune)
    low, high = betabinom(test, above, tune + 1 - above).ppf([0.025, 0.975])
    inside = 0
    for _ in range(REDRAWS):
        scores = rng.standard_exponential(tune + test)
        negative, positive = (
            (np.array([-1.0]).repeat(10), scores[:tune]) if method == "target_recall" else (scores[:tune], [])
        )
        policy = fit(negative, positive, method=method, level=level).policy
        assert isinstance(policy, Threshold)
        inside += low <= np.sum(scores[tune:] > policy.uncertainty) <= high
    assert inside / REDRAWS >= 0.93
