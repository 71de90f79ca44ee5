"""The bars that a new score is seen against count every tune score once, and show the sure and the unsure alike."""

import numpy as np
import pytest

pytest.importorskip("fastapi")

from demur.serve.calibration_bars import BARS, Calibration


def bars(scores):
    found = Calibration(np.sort(scores)).histogram
    return np.array(found["edges"]), np.array(found["counts"]), found["n"]


@pytest.mark.parametrize(
    "scores",
    [
        np.random.default_rng(0).beta(0.1, 2, 500),  # most are tiny
        np.concatenate([np.zeros(50), np.random.default_rng(1).random(50)]),
        -np.random.default_rng(2).gamma(3, 4, 300),
        np.full(7, 0.25),
    ],
    ids=["skewed", "zeros", "negative", "one value"],
)
def test_each_score_is_counted_once_in_the_bar_it_lies_in(scores):
    edges, counts, n = bars(scores)
    assert (len(edges), len(counts), n) == (BARS + 1, BARS, len(scores))
    assert (np.diff(edges) > 0).all()
    slow = [sum(edges[k] <= s and (s < edges[k + 1] or k == BARS - 1) for s in scores) for k in range(BARS)]
    assert counts.tolist() == slow
    assert counts.sum() == len(scores)


def test_where_most_scores_are_tiny_bars_are_equally_wide_by_their_ratio():
    scores = np.random.default_rng(0).beta(0.1, 2, 500)
    edges, counts, _ = bars(scores)
    ratios = edges[2:] / edges[1:-1]
    assert np.allclose(ratios, ratios[0])
    assert (edges[0], edges[-1]) == (scores.min(), scores.max())
    assert counts.max() < len(scores) / 5  # on an even scale, most would share a bar


def test_elsewhere_they_are_equally_wide():
    edges, _, _ = bars(-np.random.default_rng(2).gamma(3, 4, 300))
    assert np.allclose(np.diff(edges), np.diff(edges)[0])


def test_without_scores_there_are_no_bars():
    assert Calibration(np.empty(0)).histogram == {"edges": [], "counts": [], "n": 0}
