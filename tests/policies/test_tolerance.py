"""How far scores move when asked again, and what that does to a test."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import InputError
from demur.metrics.binomial import p_value
from demur.policies import Calibration, Certificate, Certified, Tolerance, dump_policy, load_policy
from demur.policies.tolerance import EXACT, FLOAT32_STEP


def test_a_width_is_that_of_the_piece_and_a_share_of_the_size():
    tolerance = Tolerance(edges=(0.0, 1.0), widths=(0.5, 0.25, 0.125), relative=0.01)
    np.testing.assert_allclose(
        tolerance.of([-2.0, 0.0, 0.5, 1.0, 30.0, np.inf]), [0.52, 0.25, 0.255, 0.135, 0.425, 0.125]
    )
    assert (EXACT.of([3.0, -np.inf]) == 0).all()


def test_it_is_twice_the_largest_move_nearby():
    scores = np.arange(80.0)
    moves = np.where(scores == 35, -3.0, 1e-3)
    found = Tolerance.measured(scores, moves)
    assert found.edges == tuple(np.arange(10.0, 80.0, 10.0))
    np.testing.assert_allclose(found.widths, [2e-3, 2e-3, 6, 6, 6, 2e-3, 2e-3, 2e-3])


def test_it_follows_a_monotone_change_of_the_scores():
    rng = np.random.default_rng(0)
    score, move = np.sort(rng.normal(size=100)), 1e-7 * rng.random(100)
    plain, curved = Tolerance.measured(score, move), Tolerance.measured(np.exp(9 * score), 9 * np.exp(9 * score) * move)
    np.testing.assert_allclose(np.exp(9 * np.array(plain.edges)), curved.edges)
    at = score[::7]
    assert (curved.of(np.exp(9 * at)) >= 9 * np.exp(9 * at) * move[::7]).all()


def test_equal_scores_share_a_piece_and_nothing_measured_is_a_float32_step():
    assert Tolerance.measured(np.zeros(20), np.full(20, 0.5)) == Tolerance(widths=(1.0,))
    assert Tolerance.measured([], []) == Tolerance(relative=FLOAT32_STEP) == Tolerance.measured([np.inf], [0.0])


@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    data=st.data(),
    threshold=st.floats(0, 1),
    width=st.sampled_from([0.0, 0.01, 0.2]),
)
def test_whatever_near_rows_turn_into_the_risk_shown_is_no_smaller(scores, data, threshold, width):
    """Every way in which rows move within their tolerance gives a p-value of at most that of the counts."""
    score = np.array(scores)
    wrong = np.array(data.draw(st.lists(st.booleans(), min_size=len(score), max_size=len(score))))
    counts = Calibration(score, wrong, tolerance=Tolerance(widths=(width,))).counts(threshold)
    moved = score + width * np.array(data.draw(st.lists(st.floats(-1, 1), min_size=len(score), max_size=len(score))))
    given = moved <= threshold
    later = p_value(int((given & wrong).sum()), int(given.sum()), 0.1)
    assert later <= p_value(counts.wrong, counts.answered, 0.1) + 1e-12
    assert np.count_nonzero(given != (score <= threshold)) <= counts.near


def test_rows_within_the_tolerance_are_counted_against():
    score = np.array([0.1, 0.2, 0.3, 0.31, 0.4])
    wrong = np.array([False, True, False, True, False])
    assert Calibration(score, wrong).counts(0.3) == (3, 1, 0)
    assert Calibration(score, wrong, tolerance=Tolerance(widths=(0.02,))).counts(0.3) == (3, 2, 2)


def test_the_guarantee_holds_where_scores_move_as_they_like():
    """Every threshold's risk lies a little above the target, and near rows move in the most favourable way."""
    rng, broken = np.random.default_rng(0), 0
    for _ in range(200):
        score, wrong = rng.random((2, 1000)), rng.random((2, 1000)) < 0.0205
        tolerance = Tolerance(widths=(0.002,))
        tune, certify = (Calibration(score[k], wrong[k], tolerance=tolerance) for k in (0, 1))
        broken += isinstance(Certified(risk=0.02).fit(tune, certify), Certificate)
    assert broken / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_a_certificate_says_how_many_rows_are_near_and_keeps_the_tolerance():
    rng = np.random.default_rng(0)
    tolerance = Tolerance(edges=(0.5,), widths=(0.004, 0.004))
    score = rng.random(4000)
    rows = Calibration(score, rng.random(4000) < 0.1 * score**4, tolerance=tolerance)
    found, exact = Certified().fit(rows, rows), Certified().fit(*2 * [Calibration(rows.scores, rows.wrong)])
    assert found.near == np.count_nonzero(np.abs(score - found.threshold) <= 0.004) > 0
    assert found.answered <= exact.answered
    assert f" {found.near} images so near the threshold that rounding decides count against it." in found.sentence
    assert "near" not in exact.sentence
    policy = found.on("msp")
    assert load_policy(json.loads(json.dumps(dump_policy(policy)))) == policy


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"edges": (1.0,)}, "one more `widths`"),
        ({"edges": (1.0, 1.0), "widths": (0, 0, 0)}, "ascending"),
        ({"edges": (np.inf,), "widths": (0, 0)}, "finite ascending"),
        ({"widths": (-1.0,)}, "not negative"),
        ({"relative": np.nan}, "finite"),
    ],
)
def test_what_is_no_width_is_refused(fields, words):
    with pytest.raises(InputError, match=words):
        Tolerance(**fields)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {"edges": []},
        {"edges": [], "widths": ["a"], "relative": 0},
        {"edges": 1, "widths": [0], "relative": 0},
    ],
)
def test_what_is_no_stored_tolerance_is_refused(stored):
    with pytest.raises(InputError, match="a stored score tolerance must"):
        Tolerance.load(stored)
