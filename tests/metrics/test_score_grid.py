"""Counts on a grid: the order of cells, and bounds that hold what the rows themselves say."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demur.metrics import ranking
from demur.metrics.counted_auroc import counted_auroc
from demur.metrics.delong import auroc_interval
from demur.metrics.score_grid import GridCounts, grid_cells, score_ends

METRICS = ("auroc", "fpr95", "aupr", "augrc", "aurc", "eaurc")


def some_ends(scores, wrong):
    """Of every third row, far fewer than there are cells for."""
    return score_ends(scores[::3][~wrong[::3]][::4], scores[::3][wrong[::3]][::4], [])


def counted(scores, wrong, ends=None):
    ends = some_ends(scores, wrong) if ends is None else ends
    cells, place = np.unique(grid_cells(scores, ends), return_inverse=True)
    return GridCounts(ends[cells], *(np.bincount(place, kind).astype(float) for kind in (wrong, ~wrong)))


def rows(seed):
    draw = np.random.default_rng(seed)
    size = int(draw.integers(30, 1500))
    scores = draw.normal(size=size) * draw.choice([0.001, 0.1, 3]) - 3
    scores = np.round(scores, 3) if seed % 3 == 0 else scores
    wrong = draw.uniform(size=size) < 1 / (1 + np.exp(-(scores + 2)))
    wrong[:2] = True, False
    return scores, wrong


SCORES = st.lists(st.floats(-1e300, 1e300), max_size=20)


@given(SCORES, SCORES, st.lists(st.floats(), min_size=2, max_size=20))
@example([0.0, -0.0], [], [-1e-320, 0.0, -0.0, 5e-324, np.inf, -np.inf])
def test_a_threshold_at_the_end_of_a_cell_parts_cells_and_no_rows_of_one(right, wrong, scores):
    ends = score_ends(right, wrong, [np.nan, np.inf])
    assert (np.diff(ends) > 0).all()
    assert ends[-1] == np.inf
    known = np.array(scores)[~np.isnan(scores)]
    cells = grid_cells(known, ends)
    for k, end in enumerate(ends):
        assert ((known <= end) == (cells <= k)).all()


@pytest.mark.parametrize(("place", "spread"), [(-1e4, 10), (-100, 3), (0, 1), (1e6, 0.01), (0.5, 1e-9)])
def test_scores_are_told_apart_wherever_they_lie_and_however_little_they_spread(place, spread):
    draw = np.random.default_rng(3)
    wrong = draw.uniform(size=100_000) < 0.1
    scores = place + spread * (draw.normal(size=len(wrong)) + 0.8 * wrong)
    seen = draw.uniform(size=len(wrong)) < 0.05
    found = counted(scores, wrong, score_ends(scores[seen & ~wrong], scores[seen & wrong], scores[:500]))
    own = auroc_interval(scores, wrong)
    assert found.metrics["auroc"].value == pytest.approx(own.value, abs=2e-5)
    assert found.metrics["auroc"].slack < 3e-4
    assert found.metrics["fpr95"].slack < 2e-3
    assert found.metrics["aurc"].slack < 1e-4


def test_the_interval_of_an_auroc_is_wider_by_what_cells_hide():
    scores, wrong = rows(2)
    coarse = counted(scores, wrong, np.array([-3.0, np.inf]))
    plain = counted_auroc(coarse.positive, coarse.negative)
    slack = coarse.metrics["auroc"].slack
    assert slack > 0.05
    assert coarse.auroc().low == pytest.approx(plain.low - slack)
    assert coarse.auroc().high == pytest.approx(min(1.0, plain.high + slack))


def test_a_score_that_many_rows_share_is_alone_in_its_cell():
    draw = np.random.default_rng(4)
    scores = np.where(draw.uniform(size=40_000) < 0.3, 0.25, draw.uniform(size=40_000))
    cells = grid_cells(scores, score_ends(scores[::5], [], []))
    shared = cells[scores == 0.25][0]
    assert (scores[cells == shared] == 0.25).all()


@pytest.mark.parametrize("metric", METRICS)
def test_bounds_hold_what_the_rows_say_and_the_value_is_that_of_ties(metric):
    widths = []
    for seed in range(60):
        scores, wrong = rows(seed)
        ends = some_ends(scores, wrong)
        found = counted(scores, wrong, ends).metrics[metric]
        own = getattr(ranking, metric)(scores, wrong)
        assert found.low - 1e-12 <= own <= found.high + 1e-12
        tied = getattr(ranking, metric)(ends[grid_cells(scores, ends)], wrong)
        assert found.value == pytest.approx(tied, abs=1e-12)
        widths.append(found.high - found.low)
    assert max(widths) > 0


@pytest.mark.parametrize("risk", [0.02, 0.1, 0.3])
def test_bounds_hold_the_coverage_at_a_risk(risk):
    for seed in range(60):
        scores, wrong = rows(seed)
        found = counted(scores, wrong).coverage_at_risk(risk)
        own = ranking.coverage_at_risk(scores, wrong, risk=risk)
        assert found.low - 1e-12 <= own <= found.high + 1e-12


def test_an_auroc_of_counts_has_the_interval_of_its_rows():
    scores, wrong = rows(1)
    cells, place = np.unique(scores, return_inverse=True)
    found = counted_auroc(*(np.bincount(place, kind, minlength=len(cells)).astype(float) for kind in (wrong, ~wrong)))
    own = auroc_interval(scores, wrong)
    np.testing.assert_allclose((found.value, found.low, found.high), (own.value, own.low, own.high), rtol=1e-9)
    assert (found.n, found.unit) == (own.n, own.unit)
    assert np.isnan(counted_auroc(np.array([3.0]), np.array([0.0])).value)
    assert (
        counted_auroc(np.array([3.0, 0]), np.array([0, 30.0])).reason
        == auroc_interval(np.repeat([0.0, 1.0], [3, 30]), np.repeat([True, False], [3, 30])).reason
    )


def test_a_curve_is_that_of_the_rows_at_the_ends_of_cells():
    scores, wrong = rows(4)
    curve = counted(scores, wrong).curve()
    for threshold, coverage, risk in zip(curve.threshold, curve.coverage, curve.risk, strict=True):
        answered = scores <= threshold
        assert (coverage, risk) == (answered.mean(), wrong[answered].mean())


def test_a_quantile_is_the_end_of_its_cell():
    scores, wrong = rows(5)
    for share in (0.005, 0.5, 0.995):
        own, ends = np.quantile(scores, share, method="inverted_cdf"), some_ends(scores, wrong)
        assert counted(scores, wrong, ends).quantile(share) == ends[grid_cells([own], ends)][0]
