"""A coverage fixed beforehand: the threshold blind to all labels, one exact test, the bound kept."""

import numpy as np
import pytest

from demur.errors import InputError
from demur.metrics import risk_upper_bound
from demur.policies import ACCEPT_ALL, Calibration, Capacity, Certificate, Look, threshold_near


def draw(rng, rows, groups=None):
    uncertainty = rng.random(rows)
    return Calibration(uncertainty, rng.random(rows) < 0.6 * np.exp(-6 * (1 - uncertainty)), groups)


def true_risk(threshold):
    return 0.1 * (np.exp(-6 * (1 - min(threshold, 1.0))) - np.exp(-6)) / min(threshold, 1.0)


def test_the_certificate_is_one_exact_test_of_a_threshold_that_tune_scores_place():
    rng = np.random.default_rng(0)
    tune, certify = draw(rng, 500), draw(rng, 800)
    found = Capacity(coverage=0.7).fit(tune, certify)
    answered = certify.scores <= found.threshold
    assert found.threshold == threshold_near(tune.scores, 0.7)
    assert (found.answered, found.wrong) == (answered.sum(), certify.wrong[answered].sum())
    assert found.risk == found.bound == risk_upper_bound(found.wrong, found.answered, Look().risk_level(0.05))
    assert (found.capacity, found.tests, found.grid, found.m) == (0.7, 1, 1, 800)


def test_no_label_moves_the_threshold():
    rng = np.random.default_rng(0)
    tune, certify = draw(rng, 500), draw(rng, 800)
    found = [Capacity().fit(Calibration(tune.scores, flag), certify) for flag in (tune.wrong, ~tune.wrong)]
    assert found[0] == found[1]
    assert Capacity().fit(tune, Calibration(certify.scores, ~certify.wrong)).threshold == found[0].threshold


@pytest.mark.parametrize("coverage", [0.7, 0.85, 1.0])
def test_the_bound_is_kept_as_often_as_it_says_and_no_wider_than_it_must_be(coverage):
    rng = np.random.default_rng(0)
    found = [Capacity(coverage=coverage, delta=0.2).fit(draw(rng, 200), draw(rng, 500)) for _ in range(400)]
    broken = np.mean([true_risk(each.threshold) > each.risk for each in found])
    level = Look().risk_level(0.2)
    assert 0.2 * level < broken <= level + 3 * np.sqrt(level * (1 - level) / 400)


def test_everything_is_answered_at_full_coverage():
    rng = np.random.default_rng(0)
    assert Capacity(coverage=1.0).fit(draw(rng, 50), draw(rng, 80)).threshold == ACCEPT_ALL


@pytest.mark.parametrize(("size", "pooled"), [(2, False), (3, True)])
def test_groups_of_three_images_are_bet_on(size, pooled):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), size)
    found = Capacity().fit(draw(rng, 200), draw(rng, len(groups), groups))
    assert (found.unit, found.m, found.pool is not None) == ("group", 100, pooled)
    assert found.images == (len(groups) if pooled else 100)


def test_the_bound_of_groups_whose_images_are_alike_is_kept():
    """Every group is wrong throughout or right throughout: copies of one image tell no more than one of them."""
    rng = np.random.default_rng(0)
    broken = []
    for _ in range(300):
        scores, groups = rng.random(60), np.repeat(np.arange(60), 4)
        wrong = rng.random(60) < 0.2
        rows = Calibration(np.repeat(scores, 4), np.repeat(wrong, 4), groups)
        broken.append(Capacity(delta=0.2).fit(draw(rng, 200), rows).risk < 0.2)
    assert np.mean(broken) <= 0.2


def test_answers_that_are_all_wrong_or_none_at_all_show_nothing():
    tune = draw(np.random.default_rng(0), 100)
    found = Capacity().fit(tune, Calibration(np.zeros(50), np.ones(50, bool)))
    assert (found.reason, found.lowest_risk) == ("model_too_weak", 1.0)
    found = Capacity(coverage=0.5).fit(tune, Calibration(np.full(50, 2.0), np.zeros(50, bool)))
    assert (found.reason, found.labels_given) == ("too_few_labels", 50)
    assert "none of 50 labelled images was answered" in found.sentence
    with pytest.raises(InputError, match="needs tune rows"):
        Capacity().fit(Calibration(np.zeros(0), np.zeros(0, bool)), tune)


def test_the_sentence_says_the_risk_and_the_coverage():
    rng = np.random.default_rng(0)
    found = Capacity(coverage=0.7).fit(draw(rng, 500), draw(rng, 800), unlabelled=draw(rng, 700))
    assert isinstance(found, Certificate)
    assert f"at most {100 * found.risk:.3g} in 100 answers are wrong, and it answers at least 6" in found.sentence
