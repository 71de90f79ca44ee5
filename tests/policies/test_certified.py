"""The guarantee: kept as often as it says, blind to what it must not see, refused when it cannot be made."""

import hashlib
import math

import numpy as np
import pytest
from scipy.stats import binom

from demur.errors import InputError
from demur.metrics import risk_upper_bound
from demur.metrics.binomial import labels_without_error, power, risk_lower_bound
from demur.policies import ACCEPT_ALL, Calibration, Certificate, Certified, CoverageBound, Look, Refusal, threshold_near
from demur.policies.fixed_sequence import fewest_answers, labels_by_guess, starts

FIRST, SECOND = (Look(number).risk_level(0.05) for number in (1, 2))


def exponential(sureness):
    """10 % of all answers are wrong, hardly any of the surest."""
    return 0.6 * np.exp(-6 * sureness)


def true_risk(threshold):
    """Of the exponential profile, where uncertainty is uniform on [0, 1]."""
    uncertainty = min(threshold, 1.0)
    return 0.1 * (np.exp(-6 * (1 - uncertainty)) - np.exp(-6)) / uncertainty


def draw(rng, rows, profile=exponential):
    uncertainty = rng.random(rows)
    return Calibration(uncertainty, rng.random(rows) < profile(1 - uncertainty))


def fit_many(trials, m, profile=exponential, seed=0, **fields):
    rng = np.random.default_rng(seed)
    return [Certified(**fields).fit(draw(rng, m // 2, profile), draw(rng, m, profile)) for _ in range(trials)]


@pytest.mark.parametrize(
    ("m", "risk", "low", "high"), [(1000, 0.02, 0.28, 0.42), (2000, 0.02, 0.48, 0.58), (5000, 0.02, 0.57, 0.62)]
)
def test_the_guarantee_is_kept_and_covers_what_it_can(m, risk, low, high):
    found = fit_many(400, m, risk=risk)
    thresholds = [each.threshold for each in found if isinstance(each, Certificate)]
    broken = sum(true_risk(threshold) > risk for threshold in thresholds) / len(found)
    coverage = sum(min(threshold, 1.0) for threshold in thresholds) / len(found)
    assert broken <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(found))
    assert low <= coverage <= high


def test_the_guarantee_is_kept_where_every_threshold_is_on_the_edge():
    found = fit_many(300, 1500, profile=lambda sureness: np.full_like(sureness, 0.0201))
    broken = sum(isinstance(each, Certificate) for each in found) / len(found)
    assert 0 < broken <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(found))


def test_a_certificate_states_what_was_seen():
    rng = np.random.default_rng(0)
    tune, certify = draw(rng, 1500), draw(rng, 4000)
    found = Certified().fit(tune, certify)
    answered = certify.scores <= found.threshold
    assert (found.m, found.answered, found.wrong) == (4000, answered.sum(), certify.wrong[answered].sum())
    assert found.bound == risk_upper_bound(found.wrong, found.answered, found.level) <= found.risk == 0.02
    assert (found.level, found.unit, found.look) == (FIRST / 2, "image", Look())
    assert found.coverage == CoverageBound(
        low=risk_lower_bound(found.answered, 4000, Look().coverage_level(0.05) / found.grid),
        level=Look().coverage_level(0.05),
        n=4000,
        answered=found.answered,
        several=found.grid,
        rows="certify",
    )
    assert f"answers at least {math.floor(100 * found.coverage.low)} in 100" in found.sentence
    assert "look 1 at these labels, not counted, spends 0.045 of 0.05" in found.sentence
    assert 0 < found.tests <= 2 * found.grid


def test_a_threshold_stands_in_the_middle_between_two_tune_scores():
    rng = np.random.default_rng(0)
    tune = draw(rng, 1500)
    found = Certified().fit(tune, draw(rng, 4000))
    below, above = tune.scores[tune.scores <= found.threshold].max(), tune.scores[tune.scores > found.threshold].min()
    assert found.threshold == pytest.approx((below + above) / 2, rel=1e-12)


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    tune, certify, order = draw(rng, 1000), draw(rng, 2000), rng.permutation(2000)
    mixed = Calibration(certify.scores[order], certify.wrong[order])
    assert Certified().fit(tune, mixed) == Certified().fit(tune, certify)


class Asked(Calibration):
    """Rows that remember the thresholds they were asked about."""

    def one_per_group(self):
        return self

    def counts(self, threshold):
        vars(self).setdefault("asked", []).append(float(threshold))
        return super().counts(threshold)


def test_labels_only_decide_where_testing_stops():
    rng = np.random.default_rng(0)
    tune, certify = draw(rng, 2000), draw(rng, 4000)
    plan = Certified().plan(tune, len(certify))
    asked = []
    for wrong in (np.zeros(4000, bool), certify.wrong):
        rows = Asked(certify.scores, wrong)
        Certified().fit(tune, rows)
        asked.append(rows.asked)
    assert asked[0] == [threshold for sequence in plan for threshold in sequence.thresholds]
    first = plan[0].thresholds
    stopped = next(i for i in range(len(first)) if asked[1][: i + 2] != list(first[: i + 2]))
    assert asked[1][: stopped + 1] == list(first[: stopped + 1])
    assert asked[1][stopped + 1 :] == list(plan[1].thresholds[: len(asked[1]) - stopped - 1])


def test_the_plan_does_not_see_tune_labels():
    tune = draw(np.random.default_rng(0), 500)
    assert Certified().plan(Calibration(tune.scores, ~tune.wrong), 900) == Certified().plan(tune, 900)


def test_the_plan_climbs_to_full_coverage_in_small_steps():
    tune = draw(np.random.default_rng(0), 5000)
    (first, second) = Certified().plan(tune, 4000)
    for sequence, count in ((first, 472), (second, 3 * 472)):
        assert sequence.level == FIRST / 2
        assert sequence.thresholds[-1] == ACCEPT_ALL
        coverages = np.array([np.mean(tune.scores <= threshold) for threshold in sequence.thresholds])
        assert coverages[0] == pytest.approx(count / 4000, abs=1e-3)
        assert (np.diff(coverages) > 0).all()
        assert np.diff(coverages)[:-1] == pytest.approx(0.005, abs=2e-4)


@pytest.mark.parametrize(
    ("m", "expected"),
    [
        (0, [(1, 0.05)]),
        (148, [(1, 0.05)]),
        (149, [(1, 0.05)]),
        (300, [(160 / 300, 0.05)]),
        (400, [(204 / 400, 0.05)]),
        (500, [(274 / 500, 0.05)]),
        (759, [(455.3 / 759, 0.05)]),
        (760, [(456 / 760, 0.05)]),
        (2735, [(456 / 2735, 0.05)]),
        (2736, [(456 / 2736, 0.025), (0.5, 0.025)]),
    ],
)
def test_the_rule_of_starts(m, expected):
    found = [(start.coverage, start.level) for start in starts(m, 0.02, 0.05)]
    assert np.array(found) == pytest.approx(np.array(expected), rel=1e-9)


@pytest.mark.parametrize("m", [0, 58, 59, 60, 75, 140, 4000])
def test_so_many_answers_that_a_faultless_model_passes_nine_times_in_ten(m):
    slow = next((n for n in range(59, m) if binom.sf(58, m, n / m) >= 0.9), m)
    assert fewest_answers(m, 59) == slow


def test_where_nothing_is_known_the_guess_lets_the_one_start_have_its_power():
    for risk, level in ((0.02, 0.05), (0.05, FIRST), (0.01, SECOND)):
        m = labels_by_guess(risk, level)
        (start,), (before,) = starts(m, risk, level), starts(m - 3, risk, level)
        assert power(round(m * start.coverage), risk, level, risk / 4) >= 0.9
        assert power(round((m - 3) * before.coverage), risk, level, risk / 4) < 0.9


def test_a_model_good_enough_everywhere_answers_everything():
    found = fit_many(20, 1000, profile=lambda sureness: np.full_like(sureness, 0.004))
    assert sum(isinstance(each, Certificate) and each.threshold == ACCEPT_ALL for each in found) >= 18


def test_one_lucky_threshold_past_a_failure_is_not_taken():
    scores = np.arange(4000) / 4000
    wrong = np.zeros(4000, bool)
    wrong[:100] = True
    found = Certified().fit(Calibration(scores, wrong), Calibration(scores, wrong))
    assert isinstance(found, Refusal)


def test_the_laxer_of_two_climbs_is_taken():
    scores = np.arange(4000) / 4000
    wrong = np.isin(np.arange(4000), np.arange(486, 498)) | (np.arange(4000) >= 2000)
    certify = Calibration(scores, wrong)
    found = Certified().fit(certify, certify)
    assert certify.counts(Certified().plan(certify, 4000)[0].thresholds[0]) == (472, 0, 0)
    assert 1900 < found.answered < 2100


def test_a_weak_model_is_called_weak():
    found = fit_many(40, 2000, profile=lambda sureness: np.full_like(sureness, 0.1))
    weak = [each for each in found if each.reason == "model_too_weak"]
    assert len(weak) >= 32
    assert all(each.labels_needed is None and 0.03 < each.lowest_risk <= 0.11 for each in weak)
    assert "more labelled images would not help" in weak[0].sentence


def test_a_risk_that_may_lie_below_the_target_is_not_called_weak():
    wrong = np.zeros(300, bool)
    wrong[::55] = True
    found = Certified().fit(*(Calibration(np.arange(300) / 300, wrong) for _ in range(2)))
    assert (found.reason, found.labels_needed) == ("too_few_labels", None)
    assert "more are needed to tell" in found.sentence


def test_too_few_labels_say_how_many_would_do():
    found = fit_many(40, 600)
    refused = [each for each in found if isinstance(each, Refusal)]
    assert len(refused) >= 30
    assert sum(each.reason == "too_few_labels" for each in refused) >= 0.9 * len(refused)
    needed = [each.labels_needed for each in refused if each.labels_needed]
    assert 1500 <= np.median(needed) <= 3500
    assert min(needed) > 600


def test_the_estimate_of_labels_needed_is_about_right():
    rng = np.random.default_rng(0)
    refusal = Certified().fit(draw(rng, 20_000), draw(rng, 200))
    rng, m = np.random.default_rng(0), refusal.labels_needed
    issued = [isinstance(Certified().fit(draw(rng, m // 2), draw(rng, m), Look(2)), Certificate) for _ in range(100)]
    assert refusal.reason == "too_few_labels"
    assert 0.75 <= np.mean(issued) <= 0.99


def slow_needed(tune, certify, risk):
    """Nine chances in ten at one of the starts of the next look, by steps of 5 %, written with two digits."""
    scores, wrong = np.append(tune.scores, certify.scores), np.append(tune.wrong, certify.wrong)
    level, fewest = Look(2).risk_level(0.05), labels_without_error(risk, Look(1).risk_level(0.05))
    m = float(max(len(certify.scores) + 1, labels_without_error(risk, level)))
    while True:
        for start in starts(int(m), risk, level):
            answered = scores <= threshold_near(scores, start.coverage)
            errors, n = int(wrong[answered].sum()), int(answered.sum())
            if n >= fewest and power(round(int(m) * n / len(scores)), risk, start.level, errors / n) >= 0.9:
                unit = 10 ** (len(str(int(m))) - 2)
                return math.ceil(int(m) / unit) * unit
        m *= 1.05


@pytest.mark.parametrize(("risk", "fewest"), [(0.02, 149), (0.05, 59)])
def test_the_labels_needed_are_those_of_an_obvious_loop(risk, fewest):
    rng = np.random.default_rng(1)
    seen = []
    for rows in (fewest, 2 * fewest, 3 * fewest):
        tune, certify = draw(rng, 10_000), draw(rng, rows)
        found = Certified(risk=risk).fit(tune, certify)
        if isinstance(found, Refusal):
            seen.append(found.labels_needed)
            assert found.labels_needed == slow_needed(tune, certify, risk)
    assert seen


@pytest.mark.parametrize("m", [0, 1, 100, 158])
def test_fewer_labels_than_a_faultless_model_needs_are_too_few(m):
    tune, certify = Calibration(np.arange(50.0), np.zeros(50, bool)), Calibration(np.arange(1.0 * m), np.zeros(m, bool))
    found = Certified().fit(tune, certify)
    assert (found.reason, found.labels_given) == ("too_few_labels", m)
    assert found.labels_needed >= 159
    assert f"{m} labelled images are too few" in found.sentence


def test_just_enough_labels_without_an_error_are_enough():
    tune, certify = (Calibration(np.arange(159.0), np.zeros(159, bool)) for _ in range(2))
    assert Certified().fit(tune, certify).threshold == ACCEPT_ALL


def test_a_score_that_is_always_the_same_can_only_be_certified_whole():
    rng = np.random.default_rng(0)
    constant = Calibration(np.zeros(1000), rng.random(1000) < 0.1)
    assert Certified().fit(constant, constant).reason == "model_too_weak"
    assert Certified(risk=0.2).fit(constant, constant).threshold == ACCEPT_ALL


def test_a_score_that_is_always_infinite_guarantees_nothing():
    hopeless = Calibration(np.full(1000, np.inf), np.zeros(1000, bool))
    found = Certified().fit(hopeless, hopeless)
    assert np.isnan(found.lowest_risk)
    assert "infinite" in found.sentence


def test_a_group_counts_once():
    rng = np.random.default_rng(0)
    tune, certify = draw(rng, 1000), draw(rng, 2000)
    copies = Calibration(
        np.repeat(certify.scores, 2), np.repeat(certify.wrong, 2), groups=np.repeat(np.arange(2000).astype(str), 2)
    )
    once, grouped = Certified().fit(tune, certify), Certified().fit(tune, copies)
    assert (grouped.unit, grouped.m) == ("group", 2000)
    assert (grouped.threshold, grouped.answered, grouped.wrong) == (once.threshold, once.answered, once.wrong)


def test_the_row_that_stands_for_a_group_is_chosen_by_id_alone():
    rng = np.random.default_rng(0)
    scores, wrong, groups = rng.random(60), rng.random(60) < 0.5, np.array([f"lot{i % 20}" for i in range(60)])
    ids = [f"image{i}" for i in range(60)]
    chosen = Calibration(scores, wrong, groups, ids).one_per_group()
    order = rng.permutation(60)
    mixed = Calibration(-scores[order], ~wrong[order], groups[order], [ids[i] for i in order]).one_per_group()
    assert chosen.ids == mixed.ids
    assert sorted(set(groups)) == list(chosen.groups)
    assert 0 < sum(name in {f"image{i}" for i in range(20)} for name in chosen.ids) < 20
    np.testing.assert_array_equal(
        Calibration(scores, wrong, groups).one_per_group().scores, scores[np.unique(groups, return_index=True)[1]]
    )


def test_unusable_rows_are_refused():
    with pytest.raises(InputError, match="NaN on 1 of 2"):
        Calibration(np.array([0.1, np.nan]), np.zeros(2, bool))
    with pytest.raises(InputError, match="`wrong` must have one entry per score; got 3 for 2"):
        Calibration(np.zeros(2), np.zeros(3, bool))
    with pytest.raises(InputError, match="needs readable tune rows"):
        Certified().fit(Calibration(np.array([]), np.array([], bool)), Calibration(np.zeros(2), np.zeros(2, bool)))


@pytest.mark.parametrize("rows", [20, 74])
def test_fewer_answers_than_a_faultless_model_needs_foretell_nothing(rows):
    """No error among 148 answers would foretell a risk of 0, and 300 labels; the guess without any data is 1,500."""
    few = Calibration(np.arange(rows) / rows, np.zeros(rows, bool))
    found = Certified().fit(few, few)
    assert (found.reason, found.labels_needed) == ("too_few_labels", 1500)


def test_from_159_answers_on_what_was_seen_foretells():
    enough = Calibration(np.arange(158) / 158, np.zeros(158, bool))
    assert Certified().fit(enough, enough).labels_needed == 300


def test_exactly_as_many_answers_as_a_faultless_model_needs_foretell():
    tune, certify = (Calibration(np.arange(rows) / rows, np.zeros(rows, bool)) for rows in (80, 79))
    assert Certified().fit(tune, certify).labels_needed == 300


@pytest.mark.parametrize(("errors", "reason"), [(18, "too_few_labels"), (19, "model_too_weak")])
def test_weak_is_said_at_95_in_100_one_sided(errors, reason):
    """The exact one-sided 95 % bound of 18 wrong in 600 lies below 2 %, that of 19 above."""
    tune = Calibration(np.zeros(300), np.zeros(300, bool))
    certify = Calibration(np.zeros(300), np.arange(300) < errors)
    assert Certified().fit(tune, certify).reason == reason


@pytest.mark.parametrize("kind", [object, str])
def test_the_row_whose_id_has_the_smallest_hash_stands_for_its_group(kind):
    rng = np.random.default_rng(0)
    groups, ids = np.array([f"g{k}" for k in rng.integers(0, 40, 300)], kind), [f"image {k}" for k in range(300)]
    rows = Calibration(np.arange(300.0), np.zeros(300, bool), groups, ids)
    smallest = {}
    for at in sorted(range(300), key=lambda at: hashlib.blake2b(ids[at].encode(), digest_size=8).digest()):
        smallest.setdefault(groups[at], at)
    assert rows.one_per_group().scores.tolist() == [smallest[name] for name in sorted(smallest)]
    first = Calibration(rows.scores, rows.wrong, groups).one_per_group().scores
    assert first.tolist() == [groups.tolist().index(name) for name in sorted(smallest)]
