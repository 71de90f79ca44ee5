"""What a run keeps of other preprocessing, judged: faults, power, groups, and earlier versions' runs."""

import shutil

import numpy as np
import pytest
from tests import tiny

from demur.analysis.run_folder import Run
from demur.analysis.verdict.preprocessing_table import preprocessing_checks, preprocessing_table
from demur.files import read_json, write_json
from demur.records import read

ROWS = 200


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Twenty images of each group."""
    source = tiny.source(1200, groups=[f"g{k // 20}" for k in range(1200)])
    return tiny.run(tmp_path_factory.mktemp("grouped") / "run", source, conditions=("clean",))


def of_facts(run, tmp_path, *variants, first=0.5):
    """The table of a copied run in which a share is right, and variants mend and spoil so many."""
    folder = shutil.copytree(run, tmp_path / "run")
    names = read(folder, "clean")["sample_id"].to_list()[:ROWS]
    right = np.arange(ROWS) < first * ROWS

    def entry(name, up, down, rows=ROWS, fault=None):
        own = right.copy()
        own[ROWS - up :], own[:down] = True, False
        return {"name": name, "remedy": f"mend {name}", "fault": fault, **answers(own[:rows])}

    facts = {"forwards": 1, "sample_ids": names, **answers(right), "variants": [entry(*each) for each in variants]}
    write_json(folder / "facts" / "preprocessing.json", facts)
    return Run(tiny.reseal(folder))


def answers(right):
    return {"right": right.astype(int).tolist(), "losses": np.where(right, 0.1, 3.0).tolist()}


@pytest.mark.parametrize(
    ("up", "state", "words"),
    [
        (80, "fail", "far more of the tune images with another preprocessing, swap: 90 % instead of 50 % of 200"),
        (17, "warn", "probably more of the tune images with another preprocessing, swap: 58 % instead of 50 % of 200"),
        (4, "pass", "Usual mistakes of preprocessing whose mending gains 5 points of accuracy on 200 tune images"),
    ],
)
def test_a_check_fails_by_a_gross_fault_and_warns_of_a_likely_one(folder, tmp_path, up, state, words):
    (check,) = preprocessing_checks(of_facts(folder, tmp_path, ("swap", up, 0), ("other", 0, 20)))
    assert (check.state, check.bears_on) == (state, "everything")
    assert words in check.sentence
    assert ("Mend swap" in check.sentence) == (state != "pass")


def test_the_power_is_that_of_the_variants_asked_about_every_image(folder, tmp_path):
    run = of_facts(folder, tmp_path, ("calm", 0, 0), ("lively", 30, 30), ("stopped", 0, 60, 64))
    found = preprocessing_table(run)
    by = {row.name: row for row in found.rows}
    assert found.detectable == by["lively"].detectable > by["calm"].detectable
    assert (by["stopped"].stopped, by["stopped"].images) == (True, 64)
    assert by["stopped"].right.value == pytest.approx(4 / 64)
    (check,) = preprocessing_checks(run)
    assert f"costs {100 * found.detectable:.1f} points" in check.sentence
    assert (check.count, check.of) == (0, 3)


def test_the_best_variant_comes_first_and_what_could_not_be_asked_is_left_out(folder, tmp_path):
    run = of_facts(folder, tmp_path, ("worse", 0, 20), ("best", 80, 0), ("good", 60, 0), ("no", 0, 0, 0, "it fails"))
    found = preprocessing_table(run)
    assert [row.name for row in found.rows] == ["best", "good", "worse"]
    assert [row.name for row in found.named] == ["best", "good"]
    assert found.left_out == {"no": "it fails"}


def test_what_follows_the_images_may_be_a_shift_and_never_fails(folder, tmp_path):
    run = of_facts(folder, tmp_path, ("own", 80, 0), ("other", 0, 20))
    path = run.path / "facts" / "preprocessing.json"
    facts = read_json(path)
    facts["variants"][0]["adapted"] = True
    write_json(path, facts)
    run = Run(tiny.reseal(run.path))
    (check,) = preprocessing_checks(run)
    assert check.state == "warn"
    assert "Either they are darker, lighter or paler" in check.sentence
    assert "mend own" in check.sentence
    assert (preprocessing_table(run).rows[0].outcome, preprocessing_table(run).named) == ("shift", ())


@pytest.mark.parametrize(("up", "first"), [(80, "own"), (68, "fault")])
def test_a_shift_is_told_of_in_place_of_a_fault_where_it_gains_five_points_more(folder, tmp_path, up, first):
    run = of_facts(folder, tmp_path, ("own", up, 0), ("fault", 60, 0))
    path = run.path / "facts" / "preprocessing.json"
    facts = read_json(path)
    facts["variants"][0]["adapted"] = True
    write_json(path, facts)
    (check,) = preprocessing_checks(Run(tiny.reseal(run.path)))
    assert check.state == "fail"
    assert f"mend {first}" in check.sentence.lower()


def test_images_of_a_group_count_as_one(folder, grouped, tmp_path):
    variants = ("swap", 40, 0)
    alone = preprocessing_table(of_facts(folder, tmp_path / "alone", variants)).rows[0]
    together = preprocessing_table(of_facts(grouped, tmp_path / "grouped", variants)).rows[0]
    assert (alone.accuracy.unit, together.accuracy.unit) == ("image", "group")
    assert together.accuracy.n == 10
    assert (alone.outcome, together.outcome) == ("fault", "no better")


def test_the_tiny_run_has_a_table_and_one_of_earlier_versions_has_none(folder, tmp_path):
    assert preprocessing_table(Run(folder)).images > 0
    copy = shutil.copytree(folder, tmp_path / "run")
    (copy / "facts" / "preprocessing.json").unlink()
    assert preprocessing_table(Run(copy)) is None
    assert list(preprocessing_checks(Run(copy))) == []


def test_no_tiny_run_is_accused(folder):
    assert read_json(folder / "facts" / "preprocessing.json")["variants"]
    (check,) = preprocessing_checks(Run(folder))
    assert check.state == "pass"
