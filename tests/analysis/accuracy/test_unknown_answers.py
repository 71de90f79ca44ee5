"""What becomes of images of none of the classes, worked out again from the rows."""

import json
import shutil

import numpy as np
import pytest
from scipy.stats import binomtest
from tests import tiny, unknown_runs
from tests.analysis.plain_rows import answered, auroc, rows_of, same, share, wilson_ends
from tests.report.parsed_page import Page

from demur.analysis import analyse, write_results
from demur.analysis.acceptance import judge_gates
from demur.analysis.accuracy.unknown_answers import unknown_answers
from demur.analysis.aggregates import image_sample
from demur.analysis.csv_tables import csv_tables
from demur.analysis.run_folder import Run
from demur.files import read_json, write_json
from demur.report import render, words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return unknown_runs.run(tmp_path_factory.mktemp("unknown") / "run")


@pytest.fixture(scope="module")
def results(folder):
    return analyse(folder)


def test_the_share_answered_by_the_certified_policy(folder, results):
    rows, found = rows_of(folder, "unknown"), results.unknown
    given = [answered(folder, row) for row in rows]
    assert (found.n, found.answers, found.certified) == (len(rows), sum(given), True)
    assert 0 < found.answers < found.n
    assert same(found.answered.value, share(given))
    assert found.answered.low, found.answered.high == pytest.approx(wilson_ends(sum(given), len(rows)))
    assert same(found.clean_coverage.value, results.guarantee.coverage.value)
    rule = found.policies[1]
    assert rule.policy == "rule(confidence=0.6, entropy=0.9)"
    sure = (row["signal.msp"] <= 0.4 and row["signal.entropy"] <= 0.9 for row in rows)
    assert same(rule.answered.value, share(sure))


def test_near_duplicates_have_the_number_that_they_are_of(folder, results, tmp_path):
    found = results.unknown
    assert (found.near_duplicates, found.near_duplicates_of) == (unknown_runs.PLANTED, unknown_runs.ROWS)
    assert found.near_duplicates_drawn_from is found.drawn_from is None
    copy = shutil.copytree(folder, tmp_path / "run")
    facts = read_json(copy / "facts" / "near_duplicates.json")
    for drawn_from, expected in ((900, 900), (70, None)):
        drawn = facts["unknown"] | {"images": 12, "of": 70, "drawn_from": drawn_from}
        write_json(copy / "facts" / "near_duplicates.json", facts | {"unknown": drawn})
        told = unknown_answers(Run(copy))
        assert (told.near_duplicates, told.near_duplicates_of) == (12, 70)
        assert told.near_duplicates_drawn_from == expected
    (copy / "facts" / "near_duplicates.json").unlink()
    assert unknown_answers(Run(copy)).near_duplicates is None


def test_a_counted_report_says_how_many_its_sample_is_of(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(image_sample, "OWN_ROWS", 50)
    results = write_results(shutil.copytree(folder, tmp_path / "run"), rows="counted")
    found = results.unknown
    assert 20 < found.n < 90
    assert (found.drawn_from, found.near_duplicates_of) == (unknown_runs.ROWS, unknown_runs.ROWS)
    assert found.unreadable == 0
    said = f"Of {found.n} images of none of the classes, a sample of 130, {found.answers} are answered"
    assert said in " ".join(words(results).split())
    page = " ".join(Page(render(results)).text.replace("\u00a0", " ").split())
    assert f"130 images of {found.address} belong to none of the classes" in page
    assert f"A sample of {found.n} was looked into; shares and tables here are of it" in page
    assert f"Of all 130 images {unknown_runs.PLANTED} are near-duplicates of audited ones." in page
    assert f"Share of the sample of {found.n} unknown images answered" in page


def test_what_they_are_taken_for(folder, results):
    rows, found = rows_of(folder, "unknown"), results.unknown.classes
    for each in found:
        k = tiny.CLASSES.index(each.name)
        hits = sum(row["predicted"] == k and answered(folder, row) for row in rows)
        assert same(each.answered.value, hits / len(rows))
        ends = binomtest(hits, len(rows)).proportion_ci(0.95 ** (1 / len(found)), "exact")
        assert each.answered.low == pytest.approx(ends.low)
    assert sum(each.taken.value for each in found) == pytest.approx(1)


@pytest.mark.parametrize("signal", ["msp", "energy"])
def test_unknown_is_a_target_of_every_signal(folder, results, signal):
    """Against the clean test images, by AUROC and by the false alarms where 95 in 100 are caught."""
    positive = [row[f"signal.{signal}"] for row in rows_of(folder, "unknown")]
    negative = [row[f"signal.{signal}"] for row in rows_of(folder, "clean", "test")]
    rows = {row.target: row for each in results.signals if each.name == signal for row in each.targets}
    found = rows["unknown"]
    assert (found.positives, found.negatives) == (len(positive), len(negative))
    assert same(found.auroc.value, auroc(positive, negative))
    bar = np.sort(positive)[::-1][int(np.ceil(0.95 * len(positive))) - 1]
    assert same(found.fpr95.value, np.mean(np.array(negative) >= bar))
    assert (found.gain is None) == (signal == "msp")
    assert any(contest.target == "unknown" for contest in results.contests)


def test_nothing_else_knows_of_them(folder, results, tmp_path):
    """Every number but those about them is the one of an audit without them."""
    of = tiny.source(unknown_runs.AUDITED)
    alone = analyse(tiny.run(tmp_path / "run", of=of, conditions=unknown_runs.CONDITIONS, attacked=40))
    mine, theirs = (json.loads(each.model_dump_json()) for each in (results, alone))
    changed = {name for name in mine if mine[name] != theirs[name]}
    about = {"unknown", "titles", "breaks"}
    assert changed - {"figures"} == {"provenance", "checks", "signals", "contests", "label_access", *about}
    others = [
        {**signal, "targets": [row for row in signal["targets"] if row["target"] != "unknown"], "milliseconds": None}
        for signal in mine["signals"]
    ]
    assert others == [{**signal, "milliseconds": None} for signal in theirs["signals"]]


def test_planted_images_and_names_are_said(results):
    states = {check.name: (check.state, check.count, check.of) for check in results.checks}
    assert states["unknown images are others"] == ("warn", unknown_runs.PLANTED, unknown_runs.ROWS)
    assert states["unknown images are of no class"] == ("pass", 0, unknown_runs.ROWS)
    assert "Of 130 images 4 are near-duplicates of audited ones." in render(results)
    assert f"Unknown: Of 130 images of none of the classes {results.unknown.answers} are answered, " in words(results)
    assert {"unknown.csv", "unknown-policies.csv", "unknown-classes.csv"} <= set(csv_tables(results))


def test_a_set_of_audited_images_says_nothing(tmp_path):
    unknown = unknown_runs.source(planted=40, classes=("disc", "x"))
    results = analyse(unknown_runs.run(tmp_path / "run", unknown, conditions=("clean",)))
    assert results.state == "issued"
    assert results.void("unknown images") == "failed its checks: unknown images are others"
    said = "Not known how many images of none of the classes are answered: the set failed its checks"
    assert said in words(results)
    assert "(disc)" in next(
        check.sentence for check in results.checks if check.name == "unknown images are of no class"
    )


def test_the_first_policy_decides_where_none_is_certified(tmp_path):
    plan = {"conditions": ("clean",), "policies": ("certified(risk=0.001)", "rule(confidence=0.9)", "rule")}
    results = analyse(unknown_runs.run(tmp_path / "run", **plan))
    assert (results.unknown.policy, results.unknown.certified) == ("rule(confidence=0.9)", False)
    rows = rows_of(tmp_path / "run", "unknown")
    assert results.unknown.answers == sum(row["signal.msp"] <= 0.1 and row["signal.entropy"] <= 1 for row in rows)


def test_without_a_policy_everything_is_answered(tmp_path):
    results = analyse(unknown_runs.run(tmp_path / "run", conditions=("clean",), policies=("certified(risk=0.001)",)))
    assert (results.unknown.policy, results.unknown.answers) == (None, unknown_runs.ROWS)
    assert "130 are answered by a model that answers everything, " in " ".join(words(results).split())


def test_groups_are_the_unit_where_they_are_given(tmp_path):
    groups = [f"camera {k % 13}" for k in range(unknown_runs.ROWS)]
    results = analyse(unknown_runs.run(tmp_path / "run", unknown_runs.source(groups=groups), conditions=("clean",)))
    assert (results.unknown.answered.unit, results.unknown.answered.n) == ("group", 13)


@pytest.mark.parametrize(("rule", "outcome"), [("<= 0.99", "pass"), ("<= 0.01", "fail")])
def test_a_gate_may_ask_for_them(results, rule, outcome):
    gates = {"unknown.answered": rule, "signals.msp.unknown_auroc": ">= 0.0"}
    assert [row.outcome for row in judge_gates(gates, results)] == [outcome, "pass"]
    without = results.model_copy(update={"unknown": None})
    assert judge_gates({"unknown.answered": rule}, without)[0].outcome == "inconclusive"
