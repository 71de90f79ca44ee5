"""Every check made to fire by a doctored table, and every state reached."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import binom
from tests import tiny

from demur.analysis import analyse
from demur.analysis.accuracy.overall import condition_rows
from demur.analysis.robustness.manipulation import manipulation
from demur.analysis.run_folder import Run
from demur.analysis.verdict.checks import checks, copies, data, guarantee_checks
from demur.analysis.verdict.verdict import state
from demur.analysis.verdict.verdict_tables import level
from demur.errors import RunError
from demur.files import write_json
from demur.metrics import wilson

WRONG, RIGHT = (pl.col("label") + 1) % 3, pl.col("label")


@pytest.fixture
def doctored(folder, tmp_path):
    """A function that copies the run and changes columns of some conditions' first rows, or of a split's."""

    def change(prefix, share=1.0, split=None, **columns):
        copy = tmp_path / "run"
        if not copy.exists():
            shutil.copytree(folder, copy)
            write_json(copy / "facts" / "gallery.json", [])
        for entry in json.loads((copy / "manifest.json").read_text()):
            if entry["condition"].startswith(prefix):
                path = copy / "records" / f"{entry['shard']}.parquet"
                table = pl.read_parquet(path)
                chosen = pl.int_range(pl.len()) < share * pl.len()
                if split is not None:
                    chosen = pl.col("split") == split
                table.with_columns(
                    pl.when(chosen).then(value).otherwise(pl.col(name)).cast(table.schema[name]).alias(name)
                    for name, value in columns.items()
                ).write_parquet(path)
        return tiny.reseal(copy)

    return change


def named(checked, name):
    (found,) = (each for each in checked if each.name == name)
    return found


def test_an_honest_run_passes_every_check_but_the_gentle_attacks(results):
    assert [each.name for each in results.checks if each.state == "fail"] == []
    assert [each.name for each in results.checks if each.state == "warn"] == ["attacks come to an end"]
    assert results.state == "issued"


def test_a_run_without_attacks_is_not_asked_about_them(tmp_path):
    names = {each.name for each in analyse(tiny.run(tmp_path, conditions=("clean",))).checks}
    assert names == {
        "deterministic",
        "alone or in a batch",
        "labels fit the model",
        "readable images",
        "near-duplicates stay together",
        "images come one by one",
        "labels are not wrong at random",
        "preprocessing is as in training",
        "enough errors",
        "pixels have shades",
        "answers repeat",
        "answers are steady",
        "outputs are no probabilities",
        "uncertainty can be told",
        "unseen images confirm the guarantee",
    }


@pytest.mark.parametrize(
    ("name", "expected", "prefix", "share", "columns"),
    [
        ("labels fit the model", "warn", "clean", 1, {"predicted": WRONG}),
        ("readable images", "warn", "clean", 0.01, {"error": pl.lit("torn")}),
        ("readable images", "fail", "clean", 0.06, {"error": pl.lit("torn")}),
        ("enough errors", "warn", "clean", 1, {"predicted": RIGHT}),
        ("enough errors", "warn", "clean", 0.9, {"predicted": RIGHT}),
        ("gradients are there", "warn", "", 0.05, {"flags": pl.lit(1)}),
        ("gradients are there", "fail", "", 0.5, {"flags": pl.lit(1)}),
        ("gradients are finite", "warn", "fgsm(eps=0.05", 0.01, {"flags": pl.lit(2)}),
        ("gradients are finite", "fail", "", 0.05, {"flags": pl.lit(2)}),
        ("attacks stay inside", "warn", "fgsm(eps=0.05", 0.01, {"flags": pl.lit(4 + 1)}),
        ("attacks stay inside", "fail", "", 0.05, {"flags": pl.lit(4)}),
        ("successes are confirmed", "warn", "", 0.03, {"flags": pl.lit(8)}),
        ("successes are confirmed", "fail", "", 0.1, {"flags": pl.lit(8)}),
        ("the loss rises", "warn", "pgd(eps=0.05, keep", 0.1, {"loss.kept": pl.col("loss.start")}),
        ("the loss rises", "fail", "pgd(eps=0.05, keep", 0.3, {"loss.kept": pl.col("loss.start") - 1}),
        ("many steps beat one", "fail", "pgd(eps=0.05, steps", 1, {"predicted": RIGHT}),
        ("more room never helps the model", "fail", "pgd(eps=0.05, steps", 1, {"predicted": WRONG}),
        ("every image can be flipped", "warn", "fmn", 0.1, {"epsilon.censored": pl.lit(value=True)}),
        ("every image can be flipped", "fail", "fmn", 0.5, {"epsilon.censored": pl.lit(value=True)}),
    ],
)
def test_a_check_fires(doctored, name, expected, prefix, share, columns):
    run = Run(doctored(prefix, share, **columns))
    checked = checks(run)
    found = named(checked, name)
    assert found.state == expected
    assert 0 <= found.count <= found.of
    about = {each.bears_on for each in checked if each.state == "fail"}
    assert (state(run, checked) == "measurement_failed") is bool(about & {"everything", "guarantee"})
    assert found.bears_on == ("attacks" if prefix != "clean" else "rankings" if "errors" in name else "everything")


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(0, 0, "pass"), (1, 100, "pass"), (2, 100, "warn"), (6, 100, "warn"), (7, 100, "fail")],
)
def test_a_plain_check_goes_by_the_share_itself(count, of, expected):
    assert level(count, of, 0.01, 0.06) == expected


def test_a_broken_guarantee_is_a_failed_measurement(doctored):
    results = analyse(doctored("clean", split="test", predicted=WRONG))
    found = named(results.checks, "unseen images confirm the guarantee")
    assert (found.state, found.count) == ("fail", found.of)
    assert results.state == "measurement_failed"
    assert "unseen images confirm the guarantee" in results.next_step


def rewritten(copy, wrong_ids):
    """The clean rows with these images wrong and all others right."""
    for entry in json.loads((copy / "manifest.json").read_text()):
        if entry["condition"] == "clean":
            path = copy / "records" / f"{entry['shard']}.parquet"
            table = pl.read_parquet(path)
            chosen = pl.col("sample_id").is_in(wrong_ids)
            answer = pl.when(chosen).then(WRONG).otherwise(RIGHT).cast(table.schema["predicted"])
            table.with_columns(predicted=answer).write_parquet(path)
    return Run(copy)


def test_a_guarantee_is_broken_where_chance_explains_it_less_than_once_in_a_hundred(doctored):
    run = Run(doctored("none"))
    test = run.rows("clean", "test")
    answered = test.filter(run.accepts(run.guard, test))["sample_id"].to_list()
    n, risk = len(answered), run.guard.certificate.risk
    chance = [binom.sf(errors - 1, n, risk) for errors in range(n + 1)]
    states = ["fail" if p < 0.01 else "warn" if k > risk * n else "pass" for k, p in enumerate(chance)]
    for edge in ("warn", "fail"):
        for errors in (states.index(edge) - 1, states.index(edge)):
            (found,) = guarantee_checks(rewritten(run.path, answered[:errors]))
            assert (found.state, found.count, found.of) == (states[errors], errors, n)


@pytest.mark.parametrize(("errors", "expected"), [(0, "warn"), (1, "warn"), (29, "warn"), (30, "pass")])
def test_thirty_errors_are_enough_to_rank_by(doctored, errors, expected):
    run = Run(doctored("none"))
    found = named(data(rewritten(run.path, run.rows("clean")["sample_id"].to_list()[:errors])), "enough errors")
    assert (found.state, found.count, found.of) == (expected, errors, tiny.ROWS)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.0101])
def test_copies_in_another_split_are_borne_up_to_one_in_a_hundred(doctored, share):
    run = Run(doctored("none"))
    facts = {"of": 10_000, "images": round(10_000 * share), "copies": round(tiny.ROWS * share + 0.4)}
    write_json(run.path / "facts" / "near_duplicates.json", run.optional_facts("near_duplicates") | facts)
    found = {check.name: check.state for check in copies(run)}
    expected = "fail" if share > 0.01 else "warn"
    assert found["near-duplicates stay together"] == (expected if share else "pass")
    assert found.get("copies stay together") == (expected if share else None)


@pytest.mark.parametrize(("images", "expected"), [(0, "pass"), (100, "warn"), (600, "fail")])
def test_of_images_that_were_drawn_the_interval_is_told_and_judged(doctored, images, expected):
    run = Run(doctored("none"))
    facts = {"of": 50_000, "images": images, "drawn_from": 160_000}
    write_json(run.path / "facts" / "near_duplicates.json", run.optional_facts("near_duplicates") | facts)
    found = named(copies(run), "near-duplicates stay together")
    assert (found.state, found.count, found.of) == (expected, images, 50_000)
    ends = wilson(images, 50_000)
    assert found.sentence.endswith(
        "near-duplicate; 50,000 were drawn of 160,000 by the hash of their content, so of all images "
        f"{100 * ends.low:.2g} to {100 * ends.high:.2g} % (95 % interval)"
    )
    write_json(
        run.path / "facts" / "near_duplicates.json", run.optional_facts("near_duplicates") | {"drawn_from": 50_000}
    )
    assert named(copies(run), "near-duplicates stay together").sentence.endswith("holds a near-duplicate")


def test_a_share_of_drawn_images_that_may_be_less_than_one_in_a_hundred_fails_nothing(doctored):
    run = Run(doctored("none"))
    facts = run.optional_facts("near_duplicates") | {"of": 1_000, "images": 11}
    for drawn, expected in ((None, "fail"), (1_000, "fail"), (90_000, "warn")):
        write_json(run.path / "facts" / "near_duplicates.json", facts | {"drawn_from": drawn})
        assert named(copies(run), "near-duplicates stay together").state == expected


def test_a_failed_check_at_the_door_counts(doctored):
    copy = doctored("no condition")
    door = json.loads((copy / "facts" / "preflight.json").read_text())
    write_json(copy / "facts" / "preflight.json", [door[0] | {"state": "fail"}, *door[1:]])
    run = Run(copy)
    assert state(run, checks(run)) == "measurement_failed"


def test_an_interval_without_an_upper_end_says_why(doctored):
    right = {"predicted": pl.col("label"), "epsilon.censored": pl.lit(value=True), "epsilon.minimal": pl.lit(None)}
    some = manipulation(Run(doctored("", 0.45, **right))).median_distance
    assert np.isfinite([some.value, some.low]).all()
    assert np.isnan(some.high)
    assert "never flipped" in some.reason
    most = manipulation(Run(doctored("", 0.9, **right))).median_distance
    assert np.isnan(most.value)
    assert most.reason == "most images were never flipped"


def test_too_few_labels(tmp_path):
    found = analyse(tiny.run(tmp_path, conditions=("clean",), policies=("certified(risk=0.001)",)))
    assert found.state == "too_few_labels"
    assert found.guarantee is None
    assert found.refusal.labels_needed > found.refusal.labels_given > 0
    assert f"{found.refusal.labels_needed:,}" in found.next_step
    assert {row.holds for row in found.conditions} == {None}


def test_model_too_weak(tmp_path):
    _, labels = tiny.images_and_labels()
    noisy = torch.where(torch.arange(tiny.ROWS) % 4 == 0, (labels + 1) % 3, labels)
    found = analyse(tiny.run(tmp_path, tiny.source(labels=noisy), conditions=("clean",), policies=("certified",)))
    assert found.state == "model_too_weak"
    assert found.refusal.labels_needed is None
    assert found.refusal.lowest_risk > 0.02
    assert "More labels would not help" in found.next_step


def test_undeclared(tmp_path):
    found = analyse(tiny.run(tmp_path, conditions=("clean",), policies=("rule",)))
    assert found.state == "undeclared"
    assert found.guarantee is None
    assert found.refusal is None
    assert "--risk" in found.next_step
    assert found.policies


def test_unreadable_images_are_counted_and_left_out(tmp_path):
    unreadable = set(range(0, tiny.ROWS, 40))
    found = analyse(tiny.run(tmp_path, tiny.Broken(tiny.source(), unreadable), conditions=("clean", "fmn(steps=3)")))
    assert found.provenance.failed_samples == len(unreadable)
    assert found.accuracy.n == tiny.ROWS - len(unreadable)
    assert named(found.checks, "readable images").count == len(unreadable)
    assert named(found.checks, "readable images").state == "warn"


def test_no_answers_at_all_are_no_risk_but_a_reason(doctored):
    rows = condition_rows(Run(doctored("low_light", **{"signal.msp": pl.lit(0.99)})))
    (row,) = (row for row in rows if row.family == "low_light")
    assert (row.answers, row.holds) == (0, None)
    assert np.isnan(row.risk.value)
    assert row.risk.reason


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="does not exist"):
        analyse(tmp_path)


def test_an_interrupted_run_is_refused(folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    entries = json.loads((copy / "manifest.json").read_text())
    write_json(copy / "manifest.json", [entry for entry in entries if not entry["condition"].startswith("low_light")])
    tiny.reseal(copy)
    with pytest.raises(RunError, match=r"low_light.*Run the audit to its end"):
        analyse(copy)
    write_json(copy / "manifest.json", entries[:1] + entries[2:])
    tiny.reseal(copy)
    with pytest.raises(RunError, match=r"clean.*Run the audit to its end"):
        analyse(copy)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.jsonl", "{"),
        ("log.jsonl", ""),
        ("log.jsonl", "[]"),
        ("plan.toml", "= 1"),
        ("facts/policies.json", "[]"),
    ],
)
def test_a_damaged_file_is_named(doctored, name, content):
    run = doctored("none")
    (run / name).write_text(content)
    with pytest.raises(RunError, match=f"{name} is not the file that was written"):
        analyse(run)
    tiny.reseal(run)
    with pytest.raises(RunError, match=name.rpartition("/")[2]):
        analyse(run)


def test_the_check_of_the_guarantee_counts_groups(doctored):
    """Two hundred copies of one wrong image are one observation."""
    run = doctored("clean", split="test", group=pl.lit("one lot"), predicted=WRONG)
    found = named(checks(Run(run)), "unseen images confirm the guarantee")
    assert found.of <= 1
    assert found.state != "fail"


def test_manipulation_counts_measured_changes_only(doctored):
    """An unbounded search that goes far is no success at a small size."""
    far = Run(doctored("fmn", predicted=WRONG, **{"distance.linf": pl.lit(0.9)}))
    for entry in far.facts["conditions"]:
        if entry["kind"] == "attack":
            entry["keep"] = "first"
    bounded = [entry for entry in far.facts["conditions"] if entry["severity"] > 0 or entry["kind"] != "attack"]
    with_search = manipulation(far)
    far.facts["conditions"][:] = bounded
    without = manipulation(far)
    assert with_search.wrong_answers is without.wrong_answers is None
    assert with_search.robust_accuracy == without.robust_accuracy
    assert with_search.eps == without.eps > 0


def test_a_search_alone_still_says_how_far_it_went(doctored):
    run = Run(doctored("none"))
    run.facts["conditions"][:] = [entry for entry in run.facts["conditions"] if entry["family"] in {"clean", "fmn"}]
    found = manipulation(run)
    assert (found.eps, found.robust_accuracy, found.wrong_answers) == (None, None, None)
    assert found.median_distance.value > 0
