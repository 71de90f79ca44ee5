"""How far scores move when images are asked again is measured, kept, and counted against the guarantee."""

import numpy as np
import polars as pl
import pytest
import torch
from tests import tiny

from demur.data import build_index
from demur.errors import ModelError
from demur.files import read_json
from demur.pipeline.job import Job
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.run import loop, score_tolerance
from demur.pipeline.run.score_tolerance import measure_tolerance
from demur.policies import Tolerance, load_policy
from demur.records import read

PLAN = {"conditions": ("clean",), "policies": ("certified(risk=0.3)",)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.run(tmp_path_factory.mktemp("tolerance") / "run", **PLAN)


@pytest.fixture
def job():
    data = tiny.source()
    return Job.of(resolve(tiny.plan(**PLAN), data), tiny.classifier(), data, build_index(data))


def test_it_is_measured_in_every_way_and_copied_into_the_policy(folder):
    (facts,) = read_json(folder / "facts" / "tolerances.json")
    assert facts["name"] == "msp"
    assert facts["ways"] == ["alone", "in other batches", "in float64"]
    tolerance = Tolerance.load(facts["tolerance"])
    (policy,) = (load_policy(entry["policy"]) for entry in read_json(folder / "facts" / "policies.json"))
    assert policy.certificate.tolerance == tolerance
    assert 0 < max(tolerance.widths) < 1e-5


def test_no_certify_label_is_read_before(tmp_path, monkeypatch):
    seen = []
    count = loop.looks_of_policies

    def look(job, path):
        seen.append((path / FACTS).exists())
        return count(job, path)

    monkeypatch.setattr(loop, "looks_of_policies", look)
    tiny.run(tmp_path / "run", **PLAN)
    assert seen == [True]


FACTS = "facts/tolerances.json"


def test_certify_and_test_rows_have_no_part_in_it(folder, job):
    clean = read(folder, "clean")
    moved = clean.with_columns(
        pl.when(pl.col("split") == "tune").then(pl.col("signal.msp")).otherwise(0.5).alias("signal.msp")
    )
    assert measure_tolerance(job, moved, "msp") == measure_tolerance(job, clean, "msp")


def test_it_is_twice_the_largest_move_of_the_tune_rows_nearby(folder, job, monkeypatch):
    """Scores that were recorded otherwise by as much as their rank says."""
    clean = read(folder, "clean")
    known = clean.filter(pl.col("split") == "tune").sort("signal.msp")
    by = dict(zip(known["sample_id"], 1e-3 * np.arange(len(known)) / len(known), strict=True))
    monkeypatch.setattr(score_tolerance, "ASKED", len(known))
    shifted = clean.with_columns(
        pl.col("signal.msp") - pl.col("sample_id").replace_strict(by, default=0.0, return_dtype=pl.Float64)
    )
    found = measure_tolerance(job, shifted, "msp").tolerance
    assert found.widths[-1] == pytest.approx(2e-3, rel=0.05)
    assert found.widths[0] < 0.7e-3


def test_a_way_that_fails_says_nothing_and_without_any_it_is_a_float32_step(folder, job, monkeypatch):
    clean, scores = read(folder, "clean"), score_tolerance._scores

    def failing(of, x, keys, signal, size):
        if size == 1 or x.dtype == torch.float64:
            raise ModelError("not so")
        return scores(of, x, keys, signal, size)

    monkeypatch.setattr(score_tolerance, "_scores", failing)
    found = measure_tolerance(job, clean, "msp")
    assert found.ways == ("in other batches",)
    assert found.refused == dict.fromkeys(("alone", "in float64"), "not so")
    monkeypatch.setattr(score_tolerance, "_OTHER_BATCH", 1)
    none = measure_tolerance(job, clean, "msp")
    assert (none.tolerance, none.ways) == (Tolerance(relative=2.0**-23), ())
    assert measure_tolerance(job, clean.filter(pl.col("split") == "test"), "msp").ways == ()


def test_whatever_the_scale_of_the_logits_the_same_images_are_answered(tmp_path, folder):
    """Logits of two classes and of more: a factor changes scores by one curve, or hardly changes their order."""
    scaled = tiny.classifier(sharpness=12e-3)
    other = tiny.run(tmp_path / "run", model=scaled, **PLAN)
    found, expected = (
        load_policy(read_json(run / "facts" / "policies.json")[0]["policy"]).certificate for run in (other, folder)
    )
    assert found.answered == pytest.approx(expected.answered, rel=0.1)
    assert max(found.tolerance.widths) < 1e-2 * max(expected.tolerance.widths)
