"""Rows with design weights are all held beside the counts of the others, and tell what they do where all are held."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch
from tests.analysis.aggregates.test_counted_results import CLASSES, Net, patterns, plain

import demur
from demur.analysis import write_results
from demur.analysis.aggregates import image_sample, kept_aggregates, shard_counts
from demur.analysis.run_folder import open_run
from demur.errors import RunError
from demur.records import shard_entries

ROWS = 900
SHARES = (0.4, 0.4, 0.1, 0.07, 0.03)
CORRUPTED = "low_light(severity=3)"
PLAN = {
    "conditions.use": ["clean", "pgd(eps=0.05, keep='worst', steps=2)", "fmn(steps=3)", CORRUPTED],
    "conditions.attacked": 60,
    "conditions.corrupted": 200,
    "conditions.strata": "label",
    "conditions.least": 20,
    "signals.use": ["msp", "energy"],
}


@pytest.fixture(scope="module", params=[None, 3], ids=["images", "groups"])
def folder(request, tmp_path_factory):
    draw = np.random.default_rng(8)
    labels = draw.choice(len(CLASSES), ROWS, p=SHARES)
    clear = 0.5 + draw.uniform(0.0, 0.12, (ROWS, 1)) * patterns()[labels]
    images = (clear + draw.normal(0, 0.2, clear.shape)).clip(0, 1).reshape(-1, 1, 8, 8).astype(np.float32)
    out = tmp_path_factory.mktemp("strata") / "run"
    subject = demur.Classifier(Net().eval(), classes=CLASSES)
    groups = request.param and [f"lot {at // request.param}" for at in range(ROWS)]
    data = demur.from_tensors(torch.from_numpy(images), torch.from_numpy(labels), classes=CLASSES, groups=groups)
    demur.audit(subject, data, out=out, plan=PLAN, risk=0.3)
    return out


@pytest.fixture(scope="module")
def held(folder, tmp_path_factory):
    return write_results(shutil.copytree(folder, tmp_path_factory.mktemp("held") / "run"), rows="all")


@pytest.fixture
def counted(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(image_sample, "CLEAN_ROWS", 90)
    return write_results(shutil.copytree(folder, tmp_path / "run"), rows="counted")


def named(found, column):
    return {getattr(row, column): plain(row) for row in found}


def test_the_audit_has_more_of_rare_classes_and_a_guarantee(folder, held):
    run = open_run(folder)
    assert CORRUPTED in run.weighted
    assert "clean" not in run.weighted
    assert len(run.weighted) == 3
    assert len(run.rows(CORRUPTED)) < len(run.drawn(CORRUPTED))
    assert held.guarantee is not None


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "conditions",
        "per_class",
        "confusions",
        "policies",
        "attacks",
        "robustness",
        "manipulation",
    ],
)
def test_what_is_counted_and_what_is_weighted_are_what_all_rows_say(held, counted, name):
    assert plain(getattr(counted, name)) == plain(getattr(held, name))


def test_clean_rows_of_the_sample_are_no_more_than_the_share_of_their_class(folder, monkeypatch):
    monkeypatch.setattr(image_sample, "CLEAN_ROWS", 90)
    run = open_run(folder)
    found = kept_aggregates.counted_run(run, keep=False).run
    clean, every = found.rows("clean"), found.every_clean
    assert set(found.drawn(CORRUPTED)["sample_id"]) <= set(every["sample_id"])
    assert set(found.rows(CORRUPTED)["sample_id"]) <= set(clean["sample_id"])
    assert len(clean) < len(every) < ROWS
    rare = pl.col("label") >= 3
    truth = len(run.rows("clean").filter(rare)) / ROWS
    assert abs(len(clean.filter(rare)) / len(clean) - truth) < 0.05
    assert len(every.filter(rare)) / len(every) > 1.2 * truth
    assert every.columns == run.rows("clean").columns == clean.columns


def test_targets_that_are_weighted_are_told_of_the_rows_that_are_held(held, counted):
    for ours, theirs in zip(counted.signals, held.signals, strict=True):
        own, other = named(ours.targets, "target"), named(theirs.targets, "target")
        assert own.keys() == other.keys() == {"error", "shift", "attack", "attack_oblivious"}
        for name in ("attack", "attack_oblivious"):
            assert own[name] == other[name]
        assert own["shift"]["positives"] == other["shift"]["positives"]
        assert abs(own["shift"]["auroc"]["value"] - other["shift"]["auroc"]["value"]) < 0.1
        assert own["error"]["positives"] == other["error"]["positives"]


def test_more_weighted_rows_than_can_be_held_are_refused(folder, monkeypatch):
    monkeypatch.setattr(shard_counts, "MOST_WEIGHTED", 100)
    with pytest.raises(RunError, match=r"stand for unequal numbers of images.*no more than 100 such rows"):
        kept_aggregates.chosen_counts(open_run(folder), "counted")


def test_the_passes_of_weighted_conditions_are_counted_once(folder, monkeypatch):
    monkeypatch.setattr(image_sample, "CLEAN_ROWS", 90)
    run = open_run(folder)
    found = kept_aggregates.counted_run(run, keep=False).run
    for entry in run.facts["conditions"]:
        assert found.planned(entry["name"]) == run.planned(entry["name"])
        assert found.passes_of(entry["name"]) == run.passes_of(entry["name"])
    assert sum(entry["rows"] for entry in shard_entries(folder)) == sum(
        found.planned(entry["name"]) for entry in run.facts["conditions"]
    )
