"""The same question gets the same answer: same bytes for the same seed, same decisions for any batch size."""

import json

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from demur.records import read

SEARCH_STEPS = 5
"""Forwards by which a root search may take longer where the last bits of a logit differ; 1 to 3 seen on six CPUs."""


@pytest.fixture(scope="module")
def first(audited, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "first"
    audited(run)
    return run


def manifest(run):
    return json.loads((run / "manifest.json").read_text())


def test_the_same_seed_gives_the_same_bytes(audited, first, tmp_path):
    audited(tmp_path / "again")
    assert manifest(tmp_path / "again") == manifest(first)
    assert (tmp_path / "again" / "results.json").stat().st_size > 1000
    for name in ("curves", "lipschitz", "overlays", "sanity"):
        file = f"facts/{name}.json"
        assert (tmp_path / "again" / file).read_bytes() == (first / file).read_bytes()


@pytest.mark.slow
def test_another_seed_gives_other_bytes_where_something_is_drawn(audited, first, tmp_path):
    audited(tmp_path / "seed", seed=1)
    moved = {
        before["condition"]
        for before, after in zip(manifest(first), manifest(tmp_path / "seed"), strict=True)
        if before["sha256"] != after["sha256"]
    }
    assert "clean" not in moved
    assert {"gaussian_noise(severity=3)", "smooth_grad(n=2)"} <= moved
    assert not {"ray", "occlude(by='mean', part='object', region='grad_cam')"} & moved


def test_the_batch_size_does_not_matter(audited, first, tmp_path):
    """Kernels sum in another order in another batch: the last bits of a logit may differ, and what hangs on them."""
    audited(tmp_path / "batch", batch=7)
    one, other = read(first), read(tmp_path / "batch")
    assert_frame_equal(
        one.select("sample_id", "condition", "split", "error"), other.select("sample_id", "condition", "split", "error")
    )
    decisions = ["predicted", "epsilon.censored", "step"]
    moved = pl.any_horizontal((one[name] != other[name]).fill_null(value=False) for name in decisions)
    moved = pl.select(moved).to_series()
    assert moved.sum() <= 0.01 * len(one)
    assert (one.filter(moved)["margin"].abs() < 1e-3).all()
    for cost in ("forwards", "backwards"):
        moved = (one[cost] - other[cost]).abs()
        assert (moved > 0).sum() <= 0.02 * len(one)
        assert moved.max() <= SEARCH_STEPS
    scores = pl.selectors.starts_with("signal.", "logit.")
    assert_frame_equal(one.select(scores), other.select(scores), rel_tol=0, abs_tol=1e-4)
    looked = pl.selectors.starts_with("explain.")
    assert_frame_equal(one.select(looked), other.select(looked), rel_tol=0, abs_tol=1e-3)


def test_a_finished_audit_measures_nothing_twice(audited, first):
    before = {path.name: path.stat().st_mtime_ns for path in (first / "records").iterdir()}
    audited(first)
    assert {path.name: path.stat().st_mtime_ns for path in (first / "records").iterdir()} == before
