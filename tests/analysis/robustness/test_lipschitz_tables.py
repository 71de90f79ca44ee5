import json
import math

import numpy as np
import polars as pl
import pytest
from tests.analysis import perturbation_runs

from demur.analysis.robustness.lipschitz_tables import Lipschitz, lipschitz
from demur.analysis.run_folder import Run
from demur.files import write_json

LAYER = {
    "name": "conv",
    "layers": ["conv", "norm"],
    "kind": "convolution",
    "norm": 2.5,
    "iterations": 100,
    "converged": True,
}


def written(folder, run, *, images=30, upper=50.0, reason=None, lower=None):
    """Facts of the first images of a run; margins grow from image to image and are missing where it was wrong."""
    clean = run.rows("clean")[:images]
    right = (clean["predicted"] == clean["label"]).to_list()
    margins = [0.5 + k if fine else None for k, fine in enumerate(right)]
    slopes = np.linspace(1, 9, images).tolist() if lower is None else lower
    facts = {"layers": [LAYER], "upper": upper, "reason": reason, "sample_ids": clean["sample_id"].to_list()}
    write_json(folder / "facts" / "lipschitz.json", facts | {"lower": slopes, "margins": margins})
    return margins, clean


@pytest.fixture
def run(tmp_path):
    return Run(perturbation_runs.run(tmp_path / "run"))


def test_a_run_without_norms_has_no_table(run):
    assert lipschitz(run) is None


def test_the_table_says_what_the_facts_do(run):
    margins, _ = written(run.path, run)
    found = lipschitz(run)
    known = np.array([margin for margin in margins if margin is not None])
    assert 0 < len(known) < len(margins)
    assert (found.upper, found.reason, found.images, found.lower) == (50, None, 30, 9)
    assert found.median.value == pytest.approx(np.linspace(1, 9, 30)[14])
    assert (found.median.n, found.median.unit) == (30, "image")
    assert found.certified_radius == pytest.approx(np.median(known) / (math.sqrt(2) * 50))
    assert found.layers[0].layers == ("conv", "norm")


def test_what_was_found_is_the_smallest_median_of_searches_in_l2_over_the_same_right_images(run):
    margins, clean = written(run.path, run)
    ids = [name for name, margin in zip(clean["sample_id"], margins, strict=True) if margin is not None]
    medians = {}
    for name in (perturbation_runs.L2, perturbation_runs.FMN, perturbation_runs.DDN):
        rows = run.rows(name).filter(pl.col("sample_id").is_in(ids))
        changes = [
            math.inf if row["epsilon.censored"] else row["epsilon.minimal"] for row in rows.iter_rows(named=True)
        ]
        medians[name] = sorted(changes)[(len(changes) - 1) // 2]
    found = lipschitz(run)
    assert found.search_name == min(medians, key=medians.__getitem__) == perturbation_runs.DDN
    assert found.minimal_perturbation == pytest.approx(medians[perturbation_runs.DDN])


@pytest.mark.parametrize(
    "unlike",
    [{"norm": "linf"}, {"unlimited": False}, {"target": 2}, {"part": "object", "kind": "epsilon"}],
    ids=lambda unlike: next(iter(unlike)),
)
def test_searches_in_another_norm_or_confined_ones_do_not_count(run, unlike):
    written(run.path, run)
    facts = perturbation_runs.facts_of(run.path)
    for entry in facts["conditions"]:
        if entry["name"] == perturbation_runs.DDN:
            entry |= unlike
    write_json(run.path / "run.json", facts)
    assert lipschitz(Run(run.path)).search_name == perturbation_runs.FMN


def test_a_search_of_some_of_the_images_only_does_not_count(run):
    written(run.path, run, images=1 + len(run.rows(perturbation_runs.DDN)))
    assert lipschitz(run).search_name == perturbation_runs.FMN


def test_without_searches_in_l2_nothing_was_found(run):
    written(run.path, run)
    facts = perturbation_runs.facts_of(run.path)
    for entry in facts["conditions"]:
        entry["norm"] = "linf"
    write_json(run.path / "run.json", facts)
    found = lipschitz(Run(run.path))
    assert math.isnan(found.minimal_perturbation)
    assert found.search_name is None


def test_without_a_bound_there_is_a_reason_and_no_radius(run):
    written(run.path, run, upper=None, reason="the layer attention is none whose constant is known")
    found = lipschitz(run)
    assert math.isnan(found.upper)
    assert math.isnan(found.certified_radius)
    assert "attention" in found.reason


def test_images_whose_slope_overflowed_are_left_out(run):
    written(run.path, run, images=3, lower=[2.0, None, 4.0])
    found = lipschitz(run)
    assert (found.images, found.lower, found.median.n) == (2, 4, 2)


def test_groups_are_the_unit_of_the_interval(tmp_path):
    run = Run(perturbation_runs.run(tmp_path / "run", groups=np.arange(160) // 4))
    written(run.path, run)
    assert lipschitz(run).median.unit == "group"


def test_no_image_at_all_still_makes_a_table(run):
    written(run.path, run, images=0, lower=[])
    found = lipschitz(run)
    assert found.images == 0
    assert math.isnan(found.lower)
    assert math.isnan(found.certified_radius)


def test_a_table_survives_json(run):
    written(run.path, run, upper=None, reason="why")
    found = lipschitz(run)
    assert json.loads(found.model_dump_json())["upper"] is None
    assert Lipschitz.model_validate_json(found.model_dump_json()).model_dump_json() == found.model_dump_json()
