"""Counts on a grid: the order of cells, and bounds that hold what the rows themselves say."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demur.metrics import ranking
from demur.metrics.counted_auroc import counted_auroc
from demur.metrics.delong import auroc_interval
from demur.metrics.score_grid import RESOLUTION, GridCounts, cell_ends, grid_cells

METRICS = ("auroc", "fpr95", "aupr", "augrc", "aurc", "eaurc")


def counted(scores, wrong):
    cells, place = np.unique(grid_cells(scores), return_inverse=True)
    return GridCounts(cells, *(np.bincount(place, kind).astype(float) for kind in (wrong, ~wrong)))


def rows(seed):
    draw = np.random.default_rng(seed)
    size = int(draw.integers(30, 1500))
    scores = draw.normal(size=size) * draw.choice([0.001, 0.1, 3]) - 3
    scores = np.round(scores, 3) if seed % 3 == 0 else scores
    wrong = draw.uniform(size=size) < 1 / (1 + np.exp(-(scores + 2)))
    wrong[:2] = True, False
    return scores, wrong


@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=20))
@example([-1e-320, 0.0, -0.0, 5e-324])
def test_cells_are_in_the_order_of_scores_and_end_at_their_highest(scores):
    ordered = np.sort(np.array(scores))
    cells = grid_cells(ordered)
    assert (np.diff(cells) >= 0).all()
    ends = cell_ends(cells)
    assert (ordered <= ends).all()
    assert (grid_cells(ends) == cells).all()
    assert (grid_cells(np.nextafter(ends, np.inf)) > cells).all()


def test_two_scores_of_a_cell_are_no_further_apart_than_the_resolution():
    scores = np.exp(np.random.default_rng(0).uniform(-40, 40, 100_000))
    ends = cell_ends(grid_cells(scores))
    assert (ends / scores - 1 <= RESOLUTION).all()
    assert (ends / scores - 1).max() > RESOLUTION / 2


@pytest.mark.parametrize("metric", METRICS)
def test_bounds_hold_what_the_rows_say_and_the_value_is_that_of_ties(metric):
    widths = []
    for seed in range(60):
        scores, wrong = rows(seed)
        found = counted(scores, wrong).metrics[metric]
        own = getattr(ranking, metric)(scores, wrong)
        assert found.low - 1e-12 <= own <= found.high + 1e-12
        tied = getattr(ranking, metric)(cell_ends(grid_cells(scores)), wrong)
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
        own = np.quantile(scores, share, method="inverted_cdf")
        assert counted(scores, wrong).quantile(share) == cell_ends(grid_cells([own]))[0]
