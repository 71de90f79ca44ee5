"""Findings of trials, and what only some attacks leave in the records, judged by their rules."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from tests import tiny

from demur.analysis import analyse
from demur.analysis.acceptance import judge_gates
from demur.analysis.run_folder import Run
from demur.analysis.verdict.checks import checks
from demur.analysis.verdict.sanity_checks import RULES
from demur.analysis.verdict.verdict_tables import sure_level
from demur.files import read_json, write_json
from demur.report.first_screen import FirstScreen

OF = 128
STAGED = ("clean", "ensemble(eps=0.05, preset='quick')")


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "run")


def finding(run, name, count, of=OF, *, trusted=False):
    """The run with one finding in place of all."""
    found = {"name": name, "count": count, "of": of, "samples": [str(k) for k in range(count)]}
    path = run / "facts" / "trials.json"
    write_json(path, read_json(path) | {"findings": [found], "trusted": trusted})
    return tiny.reseal(run)


def state_of(run, name):
    (found,) = (check for check in checks(Run(run)) if check.name == name)
    return found.state


NOT_RECORDED = sorted(set(RULES) - {"flat", "one_step"})


@pytest.mark.parametrize("name", NOT_RECORDED)
def test_a_finding_is_judged_by_its_rule(copied, name):
    rule = RULES[name]
    assert state_of(finding(copied, name, 0), rule.name) == "pass"
    assert state_of(finding(copied, name, int(rule.warn * OF) + 1), rule.name) == (
        "fail" if name == "reach" else "warn"
    )
    assert state_of(finding(copied, name, OF), rule.name) == ("fail" if rule.fail < 1 else "warn")


@pytest.mark.parametrize("name", NOT_RECORDED)
def test_advice_is_given_to_whoever_needs_it(copied, name):
    rule = RULES[name]
    for count, said in ((0, False), (OF, bool(rule.advice))):
        (found,) = (check for check in checks(Run(finding(copied, name, count))) if check.name == rule.name)
        assert found.sentence.startswith(rule.sentence)
        assert (f"({rule.advice})" in found.sentence) is said
        assert (found.count, found.of) == (count, OF)


@pytest.mark.parametrize("name", ["flat", "one_step"])
def test_records_of_all_attacked_images_outweigh_a_trial_on_some(copied, name):
    assert state_of(finding(copied, name, OF), RULES[name].name) == "pass"


def test_names_and_sentences_of_rules():
    names = [rule.name for rule in RULES.values()]
    assert len(set(names)) == len(names)
    for rule in RULES.values():
        assert rule.sentence.startswith(("Images ", "Attacks "))
        assert not rule.sentence.endswith(".")
        assert 0 <= rule.warn <= rule.fail <= 1


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_reference_says_what_the_rule_says(name):
    rule = RULES[name]
    page = (Path(__file__).parents[3] / "docs" / "reference" / "checks.md").read_text()
    (row,) = (line for line in page.partition("## From records")[0].splitlines() if line.startswith(f"| {rule.name} |"))
    *_, warn, fail = (cell.strip() for cell in row.strip("|").split("|"))
    assert warn == ("any" if rule.warn == 0 else f"{100 * rule.warn:g} %")
    assert fail == ("any" if rule.fail == 0 else "never" if rule.fail == 1 else f"{100 * rule.fail:g} %")


def test_whoever_vouches_for_the_data_is_warned_of_black_and_white_only(copied):
    assert state_of(finding(copied, "black_and_white", OF, trusted=True), "pixels have shades") == "warn"
    assert state_of(finding(copied, "repeats", OF, trusted=True), "answers repeat") == "fail"


def test_a_failed_trial_of_the_answers_is_a_failed_measurement(copied):
    results = analyse(finding(copied, "squeezed", OF))
    assert results.state == "measurement_failed"
    assert "outputs are no probabilities" in results.next_step


def test_a_failed_trial_of_the_attacks_voids_their_figures_and_nothing_else(copied):
    results = analyse(finding(copied, "more_steps", 20))
    assert results.state == analyse(copied).state == "issued"
    assert results.void("attacks") == "failed its checks: twice the steps change nothing"
    assert [results.void(each) for each in ("rankings", "corruptions", "maps", "everything")] == [None] * 4
    assert "(twice the steps change nothing) are not to be used" in results.next_step
    (robust, clean) = judge_gates({"robust.accuracy": ">= 0", "clean.accuracy": ">= 0"}, results)
    assert (robust.outcome, clean.outcome) == ("inconclusive", "pass")
    assert "twice the steps change nothing" in robust.sentence
    first = FirstScreen.of(results)
    assert first.manipulation == (f"Not known: the attack {results.void('attacks')}.",)
    assert first.holds is not None


def test_a_run_without_trials_still_reads(copied):
    (copied / "facts" / "trials.json").unlink()
    names = {check.name for check in checks(Run(copied))}
    assert "the loss rises" in names
    assert not names & {rule.name for rule in RULES.values()} - {"the loss rises", "many steps beat one"}


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(0, 0, "pass"), (0, 128, "pass"), (1, 128, "pass"), (2, 128, "warn"), (5, 128, "warn"), (8, 128, "fail")],
)
def test_one_odd_image_of_few_fails_nothing(count, of, expected):
    """Eight of 128 are 6.3 %, with an interval from 3.2 %; five begin at 1.7 %."""
    assert sure_level(count, of, 0.01, 0.02) == expected


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    return tiny.run(tmp_path_factory.mktemp("staged") / "run", conditions=STAGED, attacked=40)


def rewritten(folder, out, condition, **columns):
    copy = shutil.copytree(folder, out)
    for entry in json.loads((copy / "manifest.json").read_text()):
        if entry["condition"].startswith(condition):
            path = copy / "records" / f"{entry['shard']}.parquet"
            pl.read_parquet(path).with_columns(**columns).write_parquet(path)
    return copy


@pytest.mark.parametrize(("share", "expected"), [(0.0, "pass"), (0.05, "warn"), (0.3, "fail")])
def test_images_only_square_broke_raise_the_alarm(staged, tmp_path, share, expected):
    chosen = pl.int_range(pl.len()) < share * pl.len()
    stage = pl.when(chosen).then(pl.lit("square")).otherwise(pl.lit("fgsm"))
    assert state_of(rewritten(staged, tmp_path / "run", "ensemble", stage=stage), "gradients beat guessing") == expected


@pytest.mark.parametrize(
    ("flag", "name"), [(16, "attacks return what they find"), (32, "attacks do not crash"), (32 + 16, None)]
)
def test_attacks_from_elsewhere_answer_for_their_faults(folder, tmp_path, flag, name):
    chosen = pl.int_range(pl.len()) < 0.1 * pl.len()
    run = rewritten(
        folder, tmp_path / "run", "fgsm(eps=0.05", flags=pl.when(chosen).then(flag).otherwise(0).cast(pl.Int32)
    )
    facts = read_json(run / "run.json")
    before = {check.name for check in checks(Run(run))}
    assert not before & {"attacks return what they find", "attacks do not crash"}
    for entry in facts["conditions"]:
        if entry["attack"] is not None:
            entry["attack"]["external"] = entry["name"].startswith("fgsm(eps=0.05")
    write_json(run / "run.json", facts)
    for check in ("attacks return what they find", "attacks do not crash"):
        assert state_of(run, check) == ("fail" if name in {check, None} else "pass")
