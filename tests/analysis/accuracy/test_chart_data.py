"""What the charts show where there is little or nothing to show, and scores put into bins by hand."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from demur.analysis.accuracy.chart_data import curves, histograms, oracle_curve


def rows(scores, wrong):
    answers = pl.Series(wrong, dtype=pl.Boolean).cast(pl.Int64)
    return pl.DataFrame({"signal.msp": pl.Series(scores, dtype=pl.Float64), "label": answers * 0, "predicted": answers})


def run(clean, corrupted=(), attacked=()):
    """A run with rows of its test split and attacked ones; no other split and no other point that was kept."""
    tables = {
        "clean": clean,
        **{f"corruption {k}": table for k, table in enumerate(corrupted)},
        **{f"attack {k}": table for k, table in enumerate(attacked)},
    }

    def conditions(kind, keep=None):
        assert keep == ("worst" if kind == "attack" else None)
        return [{"name": name} for name in tables if name.startswith(kind)]

    def of(name, split=None):
        assert split == (None if name.startswith("attack") else "test")
        return tables[name]

    return SimpleNamespace(rows=of, conditions=conditions, signals=("msp",))


def test_without_a_test_row_there_is_no_curve():
    assert curves(run(rows([], []))) == ()
    assert oracle_curve(run(rows([], []))) is None


def test_the_curves_of_four_rows_by_hand():
    of = run(rows([0.4, 0.1, 0.2, 0.3], [True, False, True, False]))
    (curve,), oracle = curves(of), oracle_curve(of)
    found = [(point.threshold, point.coverage, point.risk) for point in curve.points]
    assert (curve.signal, oracle.signal) == ("msp", "oracle")
    assert found == [(0.1, 0.25, 0), (0.2, 0.5, 0.5), (0.3, 0.75, pytest.approx(1 / 3)), (0.4, 1, 0.5)]
    assert [point.risk for point in oracle.points] == [0, 0, pytest.approx(1 / 3), 0.5]


def test_every_score_stands_in_the_bin_of_its_outcome():
    clean = rows([0.0, 0.26, 0.5, 1.0], [False, False, True, True])
    (found,) = histograms(run(clean, [rows([0.0], [False]), rows([1.0], [True])], [rows([1.0, 1.0], [True, False])]))
    every = [0.0, 0.26, 0.5, 1.0, 0.0, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(found.edges, np.linspace(*np.percentile(every, [0.5, 99.5]), 41))
    bins = {kind: [k for k, count in enumerate(getattr(found, kind)) for _ in range(count)] for kind in KINDS}
    assert bins == {"right": [0, 10], "wrong": [20, 39], "corrupted": [0, 39], "attacked": [39, 39]}


KINDS = ("right", "wrong", "corrupted", "attacked")


def test_what_was_not_measured_has_empty_bins():
    (found,) = histograms(run(rows([0.2, 0.4], [False, False])))
    assert [sum(getattr(found, kind)) for kind in KINDS] == [2, 0, 0, 0]


def test_bins_have_a_width_where_scores_have_none():
    (none,) = histograms(run(rows([], [])))
    (same,) = histograms(run(rows([3.0, 3.0], [False, True])))
    assert (none.edges[0], none.edges[-1], sum(none.right)) == (0, 1, 0)
    assert (same.edges[0], same.edges[-1]) == (3, 4)
    assert (same.right[0], same.wrong[0]) == (1, 1)
