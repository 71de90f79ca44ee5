"""What stricter limits ask for: of the risks below the plan's own, by the signal of the guarantee."""

import pytest
from tests import tiny
from tests.analysis.plain_rows import rows_of, wrong

from demur.analysis import analyse
from demur.analysis.verdict.label_needs import RISKS
from demur.policies.label_budget import LabelBudget


def most_answered(rows, signal, risk):
    """The largest share of rows, the surest first, of which so few are wrong."""
    shares = [0.0]
    for threshold in {row[f"signal.{signal}"] for row in rows}:
        given = [row for row in rows if row[f"signal.{signal}"] <= threshold]
        if sum(map(wrong, given)) <= risk * len(given) * (1 + 1e-12):
            shares.append(len(given) / len(rows))
    return max(shares)


def test_stricter_risks_name_their_labels_and_the_coverage_left(folder, results):
    guarantee = results.guarantee
    assert [need.risk for need in results.label_needs] == list(RISKS)
    for need in results.label_needs:
        budget = LabelBudget(risk=need.risk, delta=guarantee.delta)
        assert (need.fewest, need.labels) == (budget.faultless, budget.probable)
        assert need.images == budget.images(budget.probable) > need.labels > need.fewest
        assert (need.labels_given, need.signal) == (guarantee.certify_n, guarantee.signal)
        expected = most_answered(rows_of(folder, "clean", "test"), need.signal, need.risk)
        assert need.coverage.value == pytest.approx(expected)
        assert need.coverage.low <= need.coverage.value <= need.coverage.high


def test_a_refused_guarantee_has_them_too(tmp_path):
    found = analyse(tiny.run(tmp_path / "run", policies=("certified(risk=0.008)",)))
    assert found.refusal is not None
    assert [need.risk for need in found.label_needs] == [0.005]
    assert found.label_needs[0].labels_given == found.refusal.labels_given


def test_without_a_stated_risk_there_are_none(tmp_path):
    assert analyse(tiny.run(tmp_path / "run", policies=("rule(confidence=0.6)",))).label_needs == ()
