"""Audits with thresholds by hand and fitted on tune rows, for errors, attacks and shifts."""

import re
from pathlib import Path

import numpy as np
import pytest
from tests import tiny
from tests.analysis.plain_rows import rows_of, wrong

from demur.analysis import analyse
from demur.files import read_json
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.loop import run_plan
from demur.policies import Band, Rule, Threshold, load_policy
from demur.report import write

ROOT = Path(__file__).parents[3]
CONDITIONS = ("clean", "fgsm(eps=0.05)", "pgd(eps=0.1, keep='worst', steps=4)", "gaussian_noise(severity=4)")
BY_HAND = "threshold(signal=energy(temperature=1), uncertainty=-2)"
ERROR = "fitted_threshold(method='target_fpr', level=0.1)"
TWO_SIDED = "fitted_threshold(method='mean_sigma_two_sided', purpose='attack', signal=energy)"
SHIFT = "fitted_threshold(method='youden', purpose='shift')"
ATTACK = "fitted_threshold(method='balanced_recall', purpose='attack', signal=entropy)"
UNFITTED = "fitted_threshold(method='target_fpr', level=0.001)"
RULE = "fitted_rule(recall=0.8)"
POLICIES = (BY_HAND, ERROR, TWO_SIDED, SHIFT, ATTACK, UNFITTED, RULE, "certified(risk=0.2)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("thresholds") / "run"
    return tiny.run(out, conditions=CONDITIONS, policies=POLICIES, attacked=120)


@pytest.fixture(scope="module")
def results(folder):
    return analyse(folder)


def entry(folder, name, file="policies"):
    return next(each for each in read_json(folder / "facts" / f"{file}.json") if each["name"] == name)


def scores(rows, signal):
    return np.array([row[f"signal.{signal}"] for row in rows])


def test_a_threshold_names_its_signal_bare_and_reads_it_under_its_canonical_name(folder, results):
    assert load_policy(entry(folder, BY_HAND)["policy"]) == Threshold(signal="energy", uncertainty=-2)
    row = next(row for row in results.policies if row.policy == BY_HAND and row.condition == "clean")
    held_out = [each for each in rows_of(folder, "clean") if each["split"] != "fit"]
    assert row.splits == ("tune", "certify", "test")
    assert row.n == len(held_out)
    assert row.flagged.value == pytest.approx(np.mean(scores(held_out, "energy") > -2))


def test_a_threshold_for_errors_is_that_of_the_right_tune_rows(folder, results):
    found = entry(folder, ERROR)
    tune = rows_of(folder, "clean", "tune")
    right, errors = (scores([row for row in tune if wrong(row) == flag], "msp") for flag in (False, True))
    bound = found["policy"]["uncertainty"]
    assert int((right > bound).sum()) == int(0.1 * len(right))
    assert found["fit"]["recall"] == pytest.approx(np.mean(errors > bound))
    row = next(row for row in results.policies if row.policy == ERROR and row.condition == "clean")
    rest = [each for each in rows_of(folder, "clean") if each["split"] in {"certify", "test"}]
    assert row.splits == ("certify", "test")
    assert row.n == len(rest)
    flags, mistakes = scores(rest, "msp") > bound, np.array([wrong(each) for each in rest])
    assert row.fpr.value == pytest.approx(np.mean(flags[~mistakes]))
    assert row.precision.value == pytest.approx(np.mean(mistakes[flags]))


def test_a_two_sided_threshold_is_a_band_about_the_mean_of_all_clean_tune_rows(folder):
    policy = load_policy(entry(folder, TWO_SIDED)["policy"])
    tune = scores(rows_of(folder, "clean", "tune"), "energy")
    assert isinstance(policy, Band)
    assert policy.signal == "energy"
    assert policy.low == pytest.approx(tune.mean() - 2 * tune.std(ddof=1))
    assert policy.high == pytest.approx(tune.mean() + 2 * tune.std(ddof=1))


def test_a_threshold_for_a_shift_awaits_the_corrupted_tune_rows(folder):
    assert entry(folder, SHIFT) == {"name": SHIFT, "awaits": "shift"}
    found = entry(folder, SHIFT, "late_policies")
    clean, shifted = (scores(rows_of(folder, name, "tune"), "msp") for name in ("clean", CONDITIONS[3]))
    bound = found["policy"]["uncertainty"]
    at = np.sort(np.concatenate([clean, shifted]))
    best = max(np.mean(shifted > each) - np.mean(clean > each) for each in at)
    assert np.mean(shifted > bound) - np.mean(clean > bound) == pytest.approx(best)
    assert (found["fit"]["negatives"], found["fit"]["positives"]) == (len(clean), len(shifted))


def test_a_threshold_for_an_attack_attacks_tune_rows_and_leaves_no_record_of_them(folder, results):
    found = entry(folder, ATTACK, "late_policies")
    assert all(row["split"] == "test" for row in rows_of(folder, CONDITIONS[2]))
    assert 10 <= found["fit"]["positives"] <= 120
    assert found["fit"]["sentence"].endswith(f"Put through: {CONDITIONS[2]}.")
    assert abs(found["fit"]["recall"] - (1 - found["fit"]["fpr"])) < 0.1
    assert {row.condition for row in results.policies if row.policy == ATTACK} == set(CONDITIONS)


def test_what_cannot_be_fitted_says_why_and_decides_nothing(folder, results):
    assert "needs at least 1000 right answers of split tune" in entry(folder, UNFITTED)["unfitted"]
    assert UNFITTED not in {row.policy for row in results.policies}
    told = {row.policy: row for row in results.policy_fits}
    assert list(told) == [ERROR, TWO_SIDED, SHIFT, ATTACK, UNFITTED, RULE]
    assert [name for name, row in told.items() if not row.fitted] == [UNFITTED]
    assert results.state != "refused"


def test_a_rule_is_tuned_to_its_recall(folder):
    found = entry(folder, RULE)
    policy = load_policy(found["policy"])
    assert isinstance(policy, Rule)
    tune = rows_of(folder, "clean", "tune")
    for rows, share, count in (
        ([row for row in tune if wrong(row)], found["fit"]["recall"], found["fit"]["positives"]),
        ([row for row in tune if not wrong(row)], found["fit"]["fpr"], found["fit"]["negatives"]),
    ):
        uncertainty = {name: scores(rows, name) for name in policy.signals}
        assert len(rows) == count
        assert np.mean(~policy.accepts(uncertainty)) == share
    assert 0.8 <= found["fit"]["recall"] < 0.8 + 2 / found["fit"]["positives"] + 0.05


def test_every_failure_table_adds_up(results):
    for row in results.policies:
        if row.accuracy_flagged.reason is None and row.accuracy_unflagged.reason is None:
            share = row.flagged.value
            mixture = (1 - share) * row.accuracy_unflagged.value + share * row.accuracy_flagged.value
            assert row.accuracy.value == pytest.approx(mixture, abs=1e-12)


def test_the_report_says_how_each_was_fitted(folder, results):
    write(folder, results)
    page = (folder / "report.html").read_text()
    assert "Not fitted. " in page
    for row in results.policy_fits:
        assert row.sentence.partition("'")[0].partition(":")[0] in page


def test_the_same_plan_fits_the_same(folder, tmp_path):
    again = tiny.run(tmp_path / "run", conditions=CONDITIONS, policies=POLICIES, attacked=120)
    name = Path("facts") / "late_policies.json"
    assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_the_threshold_that_the_reference_writes_of_feature_squeezing_runs_as_written(tmp_path):
    page = (ROOT / "docs" / "reference" / "signals.md").read_text()
    (text,) = re.findall(r"`(threshold\(signal=feature_squeezing[^`]*\))`", page)
    run = tiny.run(tmp_path / "run", conditions=("clean",), policies=(text,))
    assert load_policy(entry(run, text)["policy"]) == Threshold(signal="feature_squeezing", uncertainty=1.0)
    (row,) = analyse(run).policies
    assert row.policy == text
    assert read_plan(run / "plan.toml").policies.use == (text,)


def test_a_threshold_for_a_shift_goes_by_the_corrupted_rows_that_were_drawn_alike(tmp_path):
    given = tiny.plan(conditions=("clean", CONDITIONS[3]), policies=(SHIFT,))
    use = given.conditions.model_copy(update={"corrupted": 300, "strata": "label", "least": 60})
    given = given.model_copy(update={"conditions": use})
    run = run_plan(given, tmp_path / "run", tiny.Quiet(), tiny.source(), tiny.classifier())
    every = [row for row in rows_of(run, CONDITIONS[3], "tune") if row["error"] is None]
    alike = sum(row["design.alike"] for row in every)
    assert 0 < alike < len(every)
    assert entry(run, SHIFT, "late_policies")["fit"]["positives"] == alike
