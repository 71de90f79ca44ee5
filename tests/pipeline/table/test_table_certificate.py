"""A certificate from a table is the audit's own, and says what the table cannot."""

import json

import numpy as np
import polars as pl
import pytest
from tests import tiny

from demur.analysis import analyse, write_results
from demur.errors import DataError, InputError, UnknownNameError
from demur.pipeline.table.answers import read_answers
from demur.pipeline.table.table_certificate import STEP, certify_table
from demur.pipeline.table.table_run import write_table_run
from demur.policies import Capacity, Certificate, Certified, CertifiedByClass, Refusal, Tolerance
from demur.records import read
from demur.report import write

POLICY = "certified(risk=0.1, delta=0.05)"


def table(path, rows=3_000, seed=0, **columns):
    """Answers whose chance to be wrong is their score squared."""
    rng = np.random.default_rng(seed)
    score = rng.random(rows)
    wrong = rng.random(rows) < score**2
    label = rng.integers(0, 2, rows)
    frame = pl.DataFrame({"label": label, "predicted": label ^ wrong, "score": score})
    frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()}).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """An audit, and its clean rows as somebody else would keep them."""
    folder = tmp_path_factory.mktemp("audited")
    tiny.run(folder / "run", tiny.source(1_500), conditions=("clean",), policies=(POLICY,))
    clean = read(folder / "run", "clean")
    clean.select("sample_id", "split", "label", r"^logit\..*$").write_parquet(folder / "answers.parquet")
    return folder


def test_it_is_the_certificate_of_the_audit(audited):
    stored = json.loads((audited / "run" / "facts" / "policies.json").read_text())[0]
    tolerance = json.loads((audited / "run" / "facts" / "tolerances.json").read_text())[0]["tolerance"]
    answers = read_answers(audited / "answers.parquet")
    found = certify_table(answers, Certified(risk=0.1), signal=stored["signal"], tolerance=Tolerance.load(tolerance))
    own = stored["policy"]["certificate"]
    assert found.answer.threshold == pytest.approx(own["threshold"], rel=1e-12)
    names = ("answered", "wrong", "m", "near", "level", "tests", "grid")
    assert {name: getattr(found.answer, name) for name in names} == {name: own[name] for name in names}
    assert found.answer.coverage.low == pytest.approx(own["coverage"]["low"])


def test_a_run_folder_of_a_table_says_what_its_audit_does(audited, tmp_path):
    answers = read_answers(audited / "answers.parquet")
    found = certify_table(answers, Certified(risk=0.1), signal="msp")
    folder = write_table_run(answers, found, POLICY, STEP, tmp_path / "run")
    mine, own = analyse(folder), analyse(audited / "run")
    beside = {"sentence", "look_place"}  # where looks were counted
    assert mine.guarantee.model_dump(exclude=beside) == own.guarantee.model_dump(exclude=beside)
    assert mine.accuracy == own.accuracy
    assert [row.model_dump(exclude={"milliseconds", "sentence"}) for row in mine.signals][:1] == [
        row.model_dump(exclude={"milliseconds", "sentence"}) for row in own.signals
    ][:1]
    assert mine.calibration.ece.low == pytest.approx(own.calibration.ece.low)


@pytest.mark.parametrize("policy", [POLICY, "certified(risk=0.001, delta=0.05)"])
def test_a_table_of_scores_has_a_report(tmp_path, policy):
    answers = read_answers(table(tmp_path / "answers.parquet"))
    found = certify_table(answers, Certified(risk=float(policy.split("=")[1].split(",")[0])))
    folder = write_table_run(answers, found, policy, STEP, tmp_path / "run")
    results = write_results(folder, by="certify")
    page = write(folder, results)
    assert results.state == ("issued" if isinstance(found.answer, Certificate) else "too_few_labels")
    assert results.calibration.ece.reason == "a table of scores says no probabilities"
    assert "parameters" not in page.path.read_text().partition("<dt>Model</dt>")[2][:100]


def test_rows_that_were_left_out_are_counted_in_the_report(tmp_path):
    score = np.random.default_rng(0).random(3_000)
    score[[5, 7]] = np.nan
    answers = read_answers(table(tmp_path / "answers.parquet", score=score))
    found = certify_table(answers, Certified(risk=0.3))
    results = analyse(write_table_run(answers, found, "certified(risk=0.3)", STEP, tmp_path / "run"))
    assert results.provenance.failed_samples == 2
    assert results.accuracy.n == 2_998


def test_the_same_table_and_another_policy_need_another_folder(tmp_path):
    answers = read_answers(table(tmp_path / "answers.parquet"))
    found = certify_table(answers, Certified(risk=0.1))
    write_table_run(answers, found, POLICY, STEP, tmp_path / "run")
    with pytest.raises(Exception, match="belongs to another plan"):
        write_table_run(answers, found, "certified(risk=0.2)", STEP, tmp_path / "run")


def test_groups_are_one_row_each_or_bet_on(tmp_path):
    pairs = np.repeat(np.arange(1_500), 2).astype(str)
    found = certify_table(read_answers(table(tmp_path / "answers.parquet", group=pairs)), Certified(risk=0.15))
    assert (found.answer.unit, found.answer.pool) == ("group", None)
    assert found.answer.m == pytest.approx(1_500 * 0.4 / 0.95, abs=60)


def test_weights_need_their_bound_and_are_bet_on(tmp_path):
    weight = np.where(np.arange(3_000) % 2, 1.0, 3.0)
    answers = read_answers(table(tmp_path / "answers.parquet", weight=weight))
    for bound in (None, 2.0, np.inf):
        with pytest.raises(InputError, match=r"need a bound .* at least their largest, 3"):
            certify_table(answers, Certified(risk=0.15), largest_weight=bound)
    found = certify_table(answers, Certified(risk=0.15), largest_weight=3.0)
    assert found.answer.pool.weighting == "weight"


def test_a_coverage_instead_of_a_risk(tmp_path):
    found = certify_table(read_answers(table(tmp_path / "answers.parquet")), Capacity(coverage=0.5))
    assert found.test_answered / found.test == pytest.approx(0.5, abs=0.05)
    assert found.answer.risk == pytest.approx(0.5**2 / 3, abs=0.04)


def test_every_class_may_be_kept_to(tmp_path):
    found = certify_table(read_answers(table(tmp_path / "answers.parquet")), CertifiedByClass(risk=0.1))
    assert {each.name for each in found.answer.classes} == {"0", "1"}


def test_what_the_table_does_not_hold_is_named(tmp_path):
    answers = read_answers(table(tmp_path / "answers.parquet"))
    with pytest.raises(UnknownNameError, match="unknown signal of the table 'entropy'"):
        certify_table(answers, Certified(), signal="entropy")
    only = read_answers(table(tmp_path / "test.parquet", split=["test"] * 1_000 + ["certify"] * 2_000))
    with pytest.raises(DataError, match="gives 0 to tune and 2,000 to certify"):
        certify_table(only, Certified())


def test_the_signal_is_msp_unless_another_is_clearly_better(tmp_path):
    rng = np.random.default_rng(0)
    better = rng.random(3_000)
    label = rng.integers(0, 3, 3_000)
    wrong = rng.random(3_000) < better**2
    logits = rng.normal(size=(3_000, 3))
    logits[np.arange(3_000), (label + wrong) % 3] += 9
    columns = {"label": label, **{f"logit.{k}": logits[:, k] for k in range(3)}, "signal.better": better}
    pl.DataFrame(columns).write_parquet(tmp_path / "answers.parquet")
    assert certify_table(read_answers(tmp_path / "answers.parquet"), Certified(risk=0.1)).signal == "better"
    few = pl.DataFrame(columns)[:500]
    few.write_parquet(tmp_path / "few.parquet")
    assert certify_table(read_answers(tmp_path / "few.parquet"), Certified(risk=0.1)).signal == "msp"


def test_a_refusal_has_no_policy(tmp_path):
    found = certify_table(read_answers(table(tmp_path / "answers.parquet")), Certified(risk=0.001))
    assert isinstance(found.answer, Refusal)
    assert found.policy is None
