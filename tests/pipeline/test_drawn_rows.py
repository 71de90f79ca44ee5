"""Samples by strata: who is drawn, for how many others each row stands, and that tables know it."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from tests import tiny
from tests.analysis import factory_runs

from demur.analysis import analyse
from demur.analysis.accuracy import overall
from demur.analysis.row_design import counted_by
from demur.analysis.run_folder import open_run
from demur.data import build_index, from_tensors
from demur.errors import InputError, UnknownNameError
from demur.pipeline.drawn_rows import (
    Draw,
    by_hash,
    check_strata,
    drawn_rows,
    further_copies,
    growth,
    hash_order,
    named_rows,
)
from demur.pipeline.job import Job
from demur.pipeline.plan.plan_tables import Conditions
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.records import ALIKE, DESIGN, DRAWN, STANDS_FOR, STRATUM, read, wrong

SHARES = (0.8, 0.16, 0.04)
PGD, SEARCH, DARK = "pgd(eps=0.1, keep='worst', steps=3)", "fmn(steps=10)", "low_light(severity=3)"
USE = ("clean", PGD, SEARCH, DARK)


def uneven(rows=800, seed=3):
    """The patterns with few crosses, in which the net errs more often than elsewhere."""
    images, labels = tiny.images_and_labels(3 * rows, seed)
    rng = np.random.default_rng(seed)
    wanted = rng.choice(3, rows, p=SHARES)
    pools = [list(np.flatnonzero(labels.numpy() == k)) for k in range(3)]
    chosen = [pools[k].pop() for k in wanted]
    x, y = images[chosen].clone(), labels[chosen]
    noise = torch.from_numpy(rng.normal(0, 0.35, x.shape).astype(np.float32))
    x[y == 2] = (x + noise)[y == 2].clamp(0, 1)
    return from_tensors(x, y, classes=tiny.CLASSES, name="uneven")


@pytest.fixture(scope="module")
def index():
    return build_index(uneven())


def audit(folder, **conditions):
    own = Conditions(use=USE, **conditions)
    plan = tiny.plan().model_copy(update={"conditions": own})
    return tiny.run_plan(plan, folder, tiny.Quiet(), uneven(), tiny.classifier())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Everything measured, and samples by label of it."""
    place = tmp_path_factory.mktemp("strata")
    return audit(place / "whole", attacked=10**6), audit(
        place / "part", attacked=40, corrupted=150, strata="label", least=12
    )


def test_the_smallest_hashes_come_first_then_the_least_of_each_stratum(index):
    found = drawn_rows(index, None, Draw(100, "label", 12))
    ordered = by_hash(index, range(len(index)))
    assert found.population == len(index)
    assert set(ordered[:100]) == set(found.rows[found.columns[ALIKE]].tolist())
    for split in set(index.splits):
        for label in range(3):
            own = [row for row in ordered if index.splits[row] == split and index.labels[row] == label]
            drawn = [row for row in own if row in set(found.rows.tolist())]
            assert drawn == own[: len(drawn)]
            assert len(drawn) == max(len(set(own) & set(ordered[:100])), min(12, len(own)))
            at = np.isin(found.rows, drawn)
            assert found.columns[STANDS_FOR][at] == pytest.approx(len(own) / len(drawn))
            assert (found.columns[DRAWN][at] == len(drawn)).all()
    assert found.columns[STANDS_FOR].sum() == pytest.approx(len(index))


def test_a_smaller_sample_is_a_part_of_a_larger_one(index):
    sizes = [(20, 2), (20, 10), (90, 10), (400, 25)]
    drawn = [set(drawn_rows(index, None, Draw(n, "label", least)).rows.tolist()) for n, least in sizes]
    assert all(small < large for small, large in pairwise(drawn))


def test_rows_drawn_alike_say_nothing_of_it(index):
    assert not drawn_rows(index, None, Draw(500)).columns
    assert not drawn_rows(index, None, Draw(10**6, "label")).columns
    assert not drawn_rows(index, None, Draw(1500, "label", 2)).columns
    assert drawn_rows(index, None, Draw(1500)).of(np.array([0])) == {}


def test_metadata_and_groups_make_strata_too():
    index = build_index(factory_runs.Modules())
    grouped = build_index(tiny.source(300, groups=[f"lot {row % 7}" for row in range(300)]))
    for of, values, name in ((index, index.meta["site"], "site"), (grouped, grouped.groups, "group")):
        found = drawn_rows(of, None, Draw(10, name, 2))
        kept = {(of.splits[row], values[row]) for row in found.rows}
        assert kept == {(of.splits[row], values[row]) for row in of.readable}


def test_a_sample_that_strata_make_much_larger_is_told_and_one_of_all_images_refused(index):
    quiet, larger, whole = Draw(150, "label", 12), Draw(5, "label", 6), Draw(5, "label", 10**6)
    assert growth(drawn_rows(index, None, quiet), quiet, "conditions.attacked") is None
    found = drawn_rows(index, None, larger)
    assert 10 < len(found.rows) < found.population
    said = growth(found, larger, "conditions.attacked")
    assert said == (
        f"strata make a sample larger: `conditions.attacked` asks for 5, and 6 of each 'label' in each split are "
        f"{len(found.rows)} of {found.population} images"
    )
    with pytest.raises(
        InputError, match=rf"leaves no sample: .*asks for 5.*`conditions\.attacked = {found.population}`"
    ):
        growth(drawn_rows(index, None, whole), whole, "conditions.attacked")
    assert growth(drawn_rows(index, None, Draw(5)), Draw(5), "conditions.attacked") is None


def test_an_audit_says_so_and_refuses(tmp_path):
    said = []
    given, own = (
        StandIns(source=uneven(), classifier=tiny.classifier()),
        Conditions(use=USE, attacked=4, strata="label"),
    )
    few, all_ = (
        tiny.plan().model_copy(update={"conditions": own.model_copy(update={"least": least})}) for least in (4, 10_000)
    )
    prepared_job(few, given, said.append)
    assert any("`conditions.attacked` asks for 4" in sentence for sentence in said)
    with pytest.raises(InputError, match="leaves no sample"):
        prepared_job(all_, given, said.append)


def test_strata_that_nobody_knows_are_refused_with_those_there_are(index):
    with pytest.raises(UnknownNameError, match="label"):
        check_strata(index, "lable", None)
    with pytest.raises(InputError, match="data name none"):
        check_strata(index, "group", None)
    with pytest.raises(InputError, match=r"names no `conditions\.strata`"):
        check_strata(index, None, 30)
    check_strata(index, "label", 30)


def test_records_of_a_sample_are_those_rows_of_the_whole(runs):
    whole, part = runs
    for condition in (PGD, SEARCH, DARK):
        table = read(part, condition)
        assert set(DESIGN) <= set(table.columns)
        same = read(whole, condition).join(table.select("sample_id"), on="sample_id", how="semi")
        compared = ["sample_id", "predicted", "split", "label", "forwards"]
        assert same.select(compared).equals(table.select(compared))
    assert not set(DESIGN) & set(read(whole, DARK).columns)
    assert not set(DESIGN) & set(read(part, "clean").columns)


def test_weights_give_back_the_size_of_the_whole(runs):
    whole, part = runs
    for condition in (PGD, DARK):
        table, full = read(part, condition), read(whole, condition)
        for (split, label), own in table.group_by("split", "label"):
            size = len(full.filter((pl.col("split") == split) & (pl.col("label") == label)))
            assert own[STANDS_FOR].sum() == pytest.approx(size)
            assert own[STRATUM].n_unique() == 1


def test_shares_are_weighted_by_hand(runs):
    _, part = runs
    results, table = analyse(part), read(part, PGD)
    weights, right = table[STANDS_FOR].to_numpy(), ~wrong(table)
    (row,) = (row for row in results.conditions if row.condition == PGD)
    assert row.accuracy.value == pytest.approx(float(weights @ right / weights.sum()))
    assert row.accuracy.n == len(table)
    said = f"({len(table) - 40} of {len(table)} images are more of rare labels; shares are of all of them, weighted; "
    assert f"{said}wrong answers are counted among those drawn alike)" in row.sentence
    assert abs(row.accuracy.value - right.mean()) > 0.01


def near(found, truth):
    """One sample is one draw: the truth may lie outside its interval, and not far."""
    return abs(found.value - truth.value) <= 2 * (found.high - found.low) / 2


def test_the_whole_lies_near_the_intervals_of_a_sample(runs):
    whole, part = (analyse(run) for run in runs)
    own = {row.condition: row for row in part.conditions}
    for row in whole.conditions:
        assert near(own[row.condition].accuracy, row.accuracy)
        assert row.coverage is None or near(own[row.condition].coverage, row.coverage)
    for full, found in zip(whole.robustness, part.robustness, strict=True):
        assert near(found.median_distance, full.median_distance)
        for one, other in zip(full.per_class, found.per_class, strict=True):
            assert near(other.accuracy, one.accuracy)
            assert other.n >= min(12, one.n)
    for full, found in zip(whole.detections, part.detections, strict=True):
        for one, other in zip(full.signals, found.signals, strict=True):
            assert near(other.auroc, one.auroc)
    for full, found in zip(whole.policies, part.policies, strict=True):
        assert near(found.accuracy, full.accuracy)


def test_who_does_not_know_of_weights_meets_rows_drawn_alike(runs):
    _, part = runs
    run = open_run(part)
    rows, drawn = run.rows(PGD), run.drawn(PGD)
    assert len(rows) == 40 < len(drawn)
    assert not set(DESIGN) & set(rows.columns)
    assert set(rows["sample_id"]) == set(drawn.filter(pl.col(ALIKE))["sample_id"])
    entry = next(each for each in run.facts["conditions"] if each["name"] == PGD)
    assert entry["design"] == {"strata": "label", "alike": 40, "of": run.facts["splits"]["test"]}


def test_what_is_told_of_each_class_counts_all_rows_of_a_class_that_stand_for_equally_many(runs):
    run = open_run(runs[1])
    drawn = run.drawn(PGD, "test")
    by_label, by_split = (counted_by(drawn, column) for column in ("label", "split"))
    assert set(by_label["sample_id"]) == set(drawn["sample_id"]) > set(by_split["sample_id"])
    assert by_split.sort("sample_id").equals(run.rows(PGD, "test").sort("sample_id"))
    assert by_label.columns == by_split.columns
    clean = run.rows("clean")
    assert counted_by(clean, "label") is clean


def test_a_guarantee_of_each_class_is_judged_by_these_rows(runs, monkeypatch):
    run, seen = open_run(runs[1]), []
    monkeypatch.setattr(overall, "ClassThreshold", type(run.guard))
    monkeypatch.setattr(overall, "guard_parts", lambda _run, _guard, rows: seen.append(len(rows)) or ())
    monkeypatch.setattr(overall, "judged", lambda _parts: None)
    overall.condition_rows(run)
    assert len(run.drawn(PGD, "test")) in seen


def test_corruptions_on_a_sample_alike_need_no_weights(tmp_path):
    run = tiny.run_plan(
        tiny.plan().model_copy(update={"conditions": Conditions(use=("clean", DARK), corrupted=200)}),
        tmp_path / "run",
        tiny.Quiet(),
        tiny.source(400),
        tiny.classifier(),
    )
    table = read(run, DARK)
    assert len(table) == 200
    assert not set(DESIGN) & set(table.columns)
    assert len(read(run, "clean")) == 400


def test_the_order_is_that_of_contents_and_then_of_ids_whatever_they_begin_with():
    draw = np.random.default_rng(4)
    contents = [f"{head:016x}{tail:048x}" for head, tail in draw.integers(0, 6, (400, 2))]
    ids = [f"{number}.png" for number in draw.permutation(400)]
    rows = np.flatnonzero(draw.uniform(size=400) < 0.8)
    slow = sorted(range(len(rows)), key=lambda at: (contents[rows[at]], ids[rows[at]]))
    assert hash_order(contents, ids, rows).tolist() == slow


def test_of_rows_with_the_same_content_all_but_one_are_further_copies():
    draw = np.random.default_rng(5)
    contents = [f"{head:016x}{tail:048x}" for head, tail in draw.integers(0, 9, (300, 2))]
    keys, rows = draw.permutation(300).tolist(), np.flatnonzero(draw.uniform(size=300) < 0.8)
    first = {contents[row]: row for row in sorted(rows.tolist(), key=keys.__getitem__, reverse=True)}
    assert 0 < len(first) < len(rows)
    assert set(further_copies(contents, keys, rows).tolist()) == set(rows.tolist()) - set(first.values())


def test_named_rows_are_in_the_order_of_the_names():
    assert named_rows(["c", "a", "c"], iter("abcd")).tolist() == [2, 0, 2]
    assert named_rows([], "abcd").tolist() == []


def test_what_is_measured_on_all_rows_has_them_from_one_array(index):
    job = Job(plan=tiny.plan(), classifier=tiny.classifier(), source=uneven(), index=index)
    noise = SimpleNamespace(kind="clean", region=None)
    one, other = job.rows(noise), replace(job, maps={}).rows(noise)
    assert one.tolist() == list(range(len(index)))
    assert np.shares_memory(one, other)
