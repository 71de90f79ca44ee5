"""Bootstrap intervals: deterministic, paired, by unit, and wide enough."""

import numpy as np
import pytest

from demur.errors import InputError
from demur.metrics import Resampler, auroc, mean, proportion


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    rng = np.random.default_rng(0)
    uncertainty, wrong = rng.random(200), rng.random(200) < 0.3
    first, again, other = (Resampler(200, seed=seed).estimate(auroc, uncertainty, wrong) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first.low < first.value < first.high


def test_weights_do_not_depend_on_how_they_are_chunked(monkeypatch):
    whole = np.concatenate(list(Resampler(30, replicates=40).weights()))
    monkeypatch.setattr("demur.metrics.bootstrap.CHUNK", 90)
    chunks = list(Resampler(30, replicates=40).weights())
    assert len(chunks) == 14
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    np.testing.assert_array_equal(whole.sum(axis=1), 30)


def test_a_group_is_drawn_as_a_whole():
    groups = np.array(["b", "a", "b", "c", "a"])
    resampler = Resampler(5, groups, replicates=50)
    weights = np.concatenate(list(resampler.weights()))
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)
    assert (resampler.unit, resampler.units) == ("group", 3)


def test_a_gain_is_paired():
    rng = np.random.default_rng(0)
    uncertainty, wrong = rng.random(400), rng.random(400) < 0.3
    resampler = Resampler(400)
    same = resampler.gain(auroc, uncertainty, uncertainty, wrong)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = resampler.gain(auroc, uncertainty + wrong, uncertainty, wrong)
    assert better.low > 0
    assert resampler.gain(auroc, uncertainty, uncertainty + wrong, wrong).value == -better.value


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        wrong = rng.random(150) < 0.4
        uncertainty = rng.normal(size=150) + wrong
        found = Resampler(150, replicates=200).estimate(auroc, uncertainty, wrong)
        hits += found.low <= 0.7602 <= found.high  # Φ(1/√2)
    assert 0.89 <= hits / 200 <= 0.99


def test_several_metrics_share_their_draws():
    rng = np.random.default_rng(0)
    uncertainty, wrong = rng.random(100), rng.random(100) < 0.3
    both = Resampler(100).estimates({"a": auroc, "b": auroc}, uncertainty, wrong)
    assert both["a"] == both["b"] == Resampler(100).estimate(auroc, uncertainty, wrong)


def test_an_undefined_metric_says_why():
    none = Resampler(3).estimate(auroc, [0.1, 0.2, 0.3], [False] * 3)
    assert np.isnan(none.value)
    assert none.reason
    rare = Resampler(20).estimate(auroc, np.arange(20), np.arange(20) == 7)
    assert rare.value == 7 / 19
    assert np.isnan(rare.low)
    assert "5 %" in rare.reason
    assert Resampler(0).estimate(mean, np.array([])).reason == "no images"


def test_groups_name_every_row():
    with pytest.raises(InputError, match="got 2 for 3 rows"):
        Resampler(3, np.array(["a", "b"]))


def test_a_proportion_by_image_is_wilson_and_by_group_is_wider():
    flags = np.repeat(np.arange(40) % 2 == 0, 25)
    groups = np.repeat(np.arange(40), 25)
    image, group = proportion(flags), proportion(flags, groups)
    assert (image.value, image.n, image.unit) == (0.5, 1000, "image")
    assert (group.value, group.n, group.unit) == (0.5, 40, "group")
    assert group.high - group.low > 4 * (image.high - image.low)


def test_a_proportion_on_which_all_groups_agree_keeps_a_width():
    found = proportion(np.ones(100, bool), np.repeat(np.arange(10), 10))
    assert (found.value, found.high, found.n) == (1, 1, 10)
    assert found.low == pytest.approx(0.7225, abs=1e-4)


@pytest.mark.parametrize("groups", [None, np.array([], str)])
def test_a_proportion_of_nothing_says_why(groups):
    found = proportion(np.array([], bool), groups)
    assert np.isnan(found.value)
    assert found.reason


@pytest.mark.parametrize("units", [3, 5, 8, 20])
def test_a_proportion_of_few_groups_covers_the_truth(units):
    generator, held = np.random.default_rng(0), 0
    groups = np.repeat(np.arange(units), 10)
    for _ in range(400):
        found = proportion(generator.random(units * 10) < generator.beta(4, 1, units)[groups], groups)
        held += found.low <= 0.8 <= found.high
    assert held >= 0.93 * 400
