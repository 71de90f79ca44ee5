"""Rows with design weights are all held beside the counts of the others, and tell what they do where all are held."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch
from tests.analysis.aggregates.test_counted_results import CLASSES, Net, patterns, plain

import demur
from demur.analysis import write_results
from demur.analysis.aggregates import image_sample, kept_aggregates
from demur.analysis.run_folder import open_run
from demur.metrics.stratified import Design, design_share
from demur.metrics.units import id_hashes
from demur.records import DRAWN, STANDS_FOR, STRATUM, shard_entries
from demur.report.counted_words import counted_sentences

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


@pytest.fixture
def thinned(folder, monkeypatch):
    """The run of which only half of the weighted rows are held, and at least five of each stratum."""
    run = open_run(folder)
    monkeypatch.setattr(image_sample, "WEIGHTED_ROWS", sum(run.planned_rows[name] for name in run.weighted) // 2)
    monkeypatch.setattr(image_sample, "_LEAST", 5)
    return run, kept_aggregates.counted_run(run, keep=False).run


def test_of_more_weighted_rows_than_are_held_some_of_each_stratum_stand_for_all(thinned):
    run, found = thinned
    for name in run.weighted:
        every, some = run.drawn(name), found.drawn(name)
        assert 0.3 * len(every) < len(some) < 0.8 * len(every)
        assert some.select("sample_id").to_series().to_list() == [
            each for each in every["sample_id"].to_list() if each in set(some["sample_id"])
        ]
        strata = every.group_by(STRATUM).agg(pl.len().alias("all"), pl.col(STANDS_FOR).sum().alias("sum"))
        left = some.group_by(STRATUM).agg(
            pl.len(), pl.col(STANDS_FOR).sum(), pl.col(STANDS_FOR).n_unique().alias("weights"), pl.col(DRAWN).unique()
        )
        both = strata.join(left, on=STRATUM, how="left")
        assert both["len"].null_count() == 0
        assert (both["len"] >= both["all"].clip(upper_bound=5)).all()
        assert both[STANDS_FOR].to_numpy() == pytest.approx(both["sum"].to_numpy())
        assert (both["weights"] == 1).all()
        assert both[DRAWN].explode().to_list() == both["len"].to_list()
        assert set(found.rows(name)["sample_id"]) <= set(run.rows(name)["sample_id"])


def test_the_report_of_some_weighted_rows_says_what_all_say_within_its_intervals(thinned, held, folder, tmp_path):
    run, _ = thinned
    found = write_results(shutil.copytree(folder, tmp_path / "run"), rows="counted")
    for row, every in zip(found.conditions, held.conditions, strict=True):
        own = run.planned_rows[row.condition]
        assert (row.forwards, row.backwards) == (every.forwards, every.backwards), own
        if row.condition in run.weighted:
            assert row.n < every.n
            assert row.accuracy.low <= every.accuracy.value <= row.accuracy.high
            assert row.accuracy.high - row.accuracy.low > every.accuracy.high - every.accuracy.low
        else:
            assert plain(row) == plain(every)


def test_which_rows_of_a_stratum_are_kept():
    draw = np.random.default_rng(0)
    strata = np.repeat([0, 1, 3], [4000, 40, 10]).astype(np.int32)
    hashes = draw.integers(0, 2**64, len(strata), dtype=np.uint64)
    last, kept = image_sample.thinning(strata, hashes, 0.25)
    for number, count in ((0, 4000), (1, 40), (3, 10)):
        own = np.sort(hashes[strata == number])
        expected = max(int((own < 2**62).sum()), min(count, 30))
        assert kept[number] == expected
        assert last[number] >= own[expected - 1]
        assert expected == count or last[number] < own[expected]
    assert kept[2] == 0


def test_some_rows_of_each_stratum_tell_the_share_of_all_on_average():
    draw = np.random.default_rng(1)
    strata = np.repeat([0, 1], [600, 60]).astype(np.int32)
    weights, flags = np.where(strata == 0, 10.0, 1.0), draw.random(660) < np.where(strata == 0, 0.1, 0.6)
    truth, found, held = float((weights * flags).sum() / weights.sum()), [], 0
    for _ in range(600):
        hashes = draw.integers(0, 2**64, len(strata), dtype=np.uint64)
        last, kept = image_sample.thinning(strata, hashes, 0.2)
        chosen = hashes <= last[strata]
        count = np.array([600, 60])[strata[chosen]]
        own = weights[chosen] * count / kept[strata[chosen]]
        estimate = design_share(flags[chosen], Design(own, strata[chosen], kept[strata[chosen]]))
        found.append(estimate.value)
        held += estimate.low <= truth <= estimate.high
    assert np.mean(found) == pytest.approx(truth, abs=4 * np.std(found) / np.sqrt(len(found)))
    assert held >= 0.94 * 600


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


def test_rows_of_rare_strata_that_are_kept_beyond_their_share_are_not_drawn_alike(folder, monkeypatch):
    run = open_run(folder)
    total = sum(run.planned_rows[name] for name in run.weighted)
    monkeypatch.setattr(image_sample, "WEIGHTED_ROWS", total // 4)
    found = kept_aggregates.counted_run(run, keep=False).run
    for name in run.weighted:
        chosen = {each for each in run.rows(name)["sample_id"] if id_hashes([each])[0] < total // 4 / total * 2**64}
        assert set(found.rows(name)["sample_id"]) == chosen
        assert len(found.drawn(name)) > len(chosen)


def test_the_page_and_the_attacks_say_what_is_of_some_weighted_rows(thinned, held, folder, tmp_path):
    found = write_results(shutil.copytree(folder, tmp_path / "run"), rows="counted")
    run, some = thinned
    assert found.aggregates.weighted == sum(len(run.drawn(name)) for name in run.weighted)
    assert found.aggregates.sampled_weighted == sum(len(some.drawn(name)) for name in run.weighted)
    words = counted_sentences(found)[0]
    assert f"told of {found.aggregates.sampled_weighted} of their {found.aggregates.weighted} rows" in words
    assert [(row.forwards, row.backwards) for row in found.attacks] == [
        (row.forwards, row.backwards) for row in held.attacks
    ]
