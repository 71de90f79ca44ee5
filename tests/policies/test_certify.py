"""Certificates from scores of one's own: which rows place thresholds, which test them, and what is refused."""

import numpy as np
import pytest
import torch

import demur
from demur.errors import InputError
from demur.policies import Calibration, Certificate, Certified, Look, Refusal
from demur.policies.certify import TUNE_SHARE, certify


def draw(n, seed=0, slope=0.25):
    rng = np.random.default_rng(seed)
    scores = rng.random(n)
    return scores, rng.random(n) < slope * scores**3


def test_it_is_the_certified_threshold_on_the_rows_it_kept_apart():
    scores, wrong = draw(3000)
    found = certify(scores, wrong, risk=0.02)
    order = np.random.default_rng(0).permutation(3000)
    tune, rest = order[: round(TUNE_SHARE * 3000)], np.sort(order[round(TUNE_SHARE * 3000) :])
    expected = Certified(risk=0.02).fit(
        Calibration(scores[np.sort(tune)], wrong[np.sort(tune)]),
        Calibration(scores[rest], wrong[rest]),
        Look(1, "caller"),
    )
    assert isinstance(found, Certificate)
    assert found == expected
    assert found.m == 3000 - round(TUNE_SHARE * 3000)
    assert f"{found.answered:,} of {found.m:,}" in found.sentence
    assert "at most 2 in 100" in found.sentence


def test_both_sets_may_be_given():
    scores, wrong = draw(2000)
    tune = draw(800, seed=1)
    found = certify(scores, wrong, risk=0.02, tune=tune)
    assert found == Certified(risk=0.02).fit(Calibration(*tune), Calibration(scores, wrong), Look(1, "caller"))
    assert found.m == 2000


def test_the_draw_follows_the_seed_alone():
    scores, wrong = draw(2000)
    assert certify(scores, wrong, risk=0.05) == certify(scores, wrong, risk=0.05)
    assert certify(scores, wrong, risk=0.05) != certify(scores, wrong, risk=0.05, seed=1)


def test_tensors_that_require_gradients_and_flags_of_any_type_are_read():
    scores, wrong = draw(2000)
    tensor = torch.tensor(scores, requires_grad=True)
    for flags in (torch.tensor(wrong), wrong.astype(int), wrong.tolist()):
        assert certify(tensor, flags, risk=0.02) == certify(scores, wrong, risk=0.02)


def test_no_group_is_torn_apart():
    scores, wrong = draw(3000)
    groups = [f"patient {k // 3}" for k in range(3000)]
    found = certify(scores, wrong, risk=0.05, groups=groups)
    assert found.unit == "group"
    assert found.m == 1000 - round(TUNE_SHARE * 1000)


def test_a_score_that_is_blind_is_refused():
    rng = np.random.default_rng(3)
    assert isinstance(certify(rng.random(2000), rng.random(2000) < 0.3, risk=0.02), Refusal)


def test_the_guarantee_is_broken_as_seldom_as_it_says():
    """The true risk of each threshold is known, so that certificates beyond it can be counted."""
    draws, broken, issued = 300, 0, 0
    grid = np.linspace(0, 1, 20_001)[1:]
    risk_at = np.cumsum(0.25 * grid**3) / np.arange(1, len(grid) + 1)
    for seed in range(draws):
        found = certify(*draw(1200, seed=seed + 100), risk=0.05, delta=0.1)
        if isinstance(found, Certificate):
            issued += 1
            broken += np.interp(min(found.threshold, 1.0), grid, risk_at) > 0.05
    assert issued > 0.9 * draws
    assert broken <= 0.1 * draws + 3 * (0.09 * draws) ** 0.5


@pytest.mark.parametrize(
    ("scores", "wrong", "message"),
    [
        ([0.1, 0.2], [0, 2], "`wrong` must be one flag per row"),
        ([[0.1], [0.2]], [0, 1], r"`scores` must be one number per row, \(rows,\)"),
        ([0.1, 0.2, 0.3], [0, 1], "one entry per score"),
        ([0.1, float("nan"), 0.2], [0, 1, 0], "NaN on 1 of 3"),
        (["low", "high"], [0, 1], "`scores` must be one number per row; got list"),
        ([0.1], [0], "got 1. Give more"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(scores, wrong, message):
    with pytest.raises(InputError, match=message):
        demur.certify(scores, wrong, risk=0.02)


def test_a_risk_that_is_no_share_is_refused():
    with pytest.raises(InputError, match="risk"):
        demur.certify(*draw(100), risk=2)


def test_a_later_look_spends_less_and_says_so():
    scores, wrong = draw(3000)
    first, third = certify(scores, wrong, risk=0.02), certify(scores, wrong, risk=0.02, looks=3)
    assert (first.look, third.look) == (Look(1, "caller"), Look(3, "caller"))
    assert third.threshold < first.threshold
    assert "look 3 at these labels, as the caller says, spends 0.00076 of 0.05" in third.sentence
    with pytest.raises(InputError, match="a look is numbered from 1"):
        certify(scores, wrong, risk=0.02, looks=0)


def test_below_600_units_a_fifth_places_the_thresholds():
    scores, wrong = draw(599)
    assert certify(scores, wrong, risk=0.2).m == 599 - round(0.2 * 599)
    scores, wrong = draw(600)
    assert certify(scores, wrong, risk=0.2).m == 600 - round(TUNE_SHARE * 600)


def test_weights_make_the_weighted_share_the_risk():
    """The heavy rows are wrong five times as often, so that weights refuse what the rows as they are would bear."""
    scores, _ = draw(8000)
    rng = np.random.default_rng(5)
    heavy = rng.random(8000) < 0.2
    wrong = rng.random(8000) < np.where(heavy, 0.5, 0.1) * scores**3
    plain = certify(scores, wrong, risk=0.05)
    found = certify(scores, wrong, risk=0.05, weights=np.where(heavy, 10.0, 1.0), largest_weight=10.0)
    answered = scores <= found.threshold
    weight = np.where(heavy, 10.0, 1.0)[answered]
    assert found.threshold < plain.threshold
    assert (weight * wrong[answered]).sum() / weight.sum() < 0.05
    assert (found.pool.weighting, found.unit) == ("weight", "image")
    assert "each image counting by its weight" in found.sentence


@pytest.mark.parametrize(
    ("largest", "weights"), [(None, [1.0] * 50), (0.9, [1.0] * 50), (0, [0.0] * 50), (1.0, [np.nan] * 50)]
)
def test_weights_without_a_bound_that_holds_are_refused(largest, weights):
    scores, wrong = draw(50)
    with pytest.raises(InputError, match=r"weights need `largest_weight`|weights are shares"):
        certify(scores, wrong, risk=0.1, weights=weights, largest_weight=largest)
    with pytest.raises(InputError, match=r"weights are shares .* in \[0, 1\]"):
        certify(scores, wrong, risk=0.1, weights=[-1.0] * 50, largest_weight=1.0)


def test_the_largest_group_makes_each_image_count_equally():
    rng = np.random.default_rng(0)
    sizes = rng.integers(3, 7, 900)
    scores, wrong = draw(int(sizes.sum()), slope=0.1)
    groups = np.repeat(np.arange(900), sizes)
    each, image = (certify(scores, wrong, risk=0.1, groups=groups, largest_group=most) for most in (None, 6))
    assert (each.pool.weighting, image.pool.weighting) == ("group", "image")
    assert "each image counting equally" in image.sentence
    with pytest.raises(InputError, match="`largest_group` must be fixed beforehand"):
        certify(scores, wrong, risk=0.1, groups=groups, largest_group=5)


def test_one_group_for_all_rows_is_named():
    scores, wrong = draw(500)
    found = certify(scores, wrong, risk=0.1, groups=["lot 7"] * 500)
    assert "one and the same group, 'lot 7'" in found.sentence
