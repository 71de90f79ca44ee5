"""An audit with a second threshold: fixed on tune rows, certified together, said on the first screen."""

import numpy as np
import pytest
from tests import tiny
from tests.analysis.plain_rows import rows_of, wrong

import demur
from demur.analysis import analyse
from demur.errors import InputError, UnknownNameError
from demur.files import read_json
from demur.pipeline.plan.plan_file import read_plan
from demur.policies import ACCEPT_ALL, CertifiedPair, load_policy
from demur.report import write
from demur.report.first_screen import FirstScreen

POLICY = "certified(risk=0.1, second=tta(mirror=False, move=1), budget=0.05)"
SECOND = "tta(mirror=False)"
OTHERS = ("capacity(coverage=0.6, second=energy, purpose='shift')", "certified(risk=0.1)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("second") / "run"
    return tiny.run(out, conditions=("clean", "fgsm(eps=0.1)"), policies=(POLICY, *OTHERS), attacked=60)


@pytest.fixture(scope="module")
def results(folder):
    return analyse(folder)


def fitted(folder, place=0):
    return load_policy(read_json(folder / "facts" / "policies.json")[place]["policy"])


def test_the_second_signal_is_measured_and_its_tolerance_too(folder):
    """Under its canonical name, however the plan spells it."""
    assert SECOND in [entry["name"] for entry in read_json(folder / "run.json")["signals"]]
    measured = read_json(folder / "facts" / "tolerances.json")
    assert [entry["name"] for entry in measured] == ["msp", SECOND, "energy"]
    assert all(entry["ways"] for entry in measured)
    assert fitted(folder).second.tolerance.widths == tuple(measured[1]["tolerance"]["widths"])


def test_the_tune_rows_alone_fix_the_second_threshold(folder):
    policy = fitted(folder)
    assert isinstance(policy, CertifiedPair)
    scores = np.sort([row[f"signal.{SECOND}"] for row in rows_of(folder, "clean", "tune") if not wrong(row)])
    most = int(0.05 * len(scores))
    assert policy.second.uncertainty == (scores[-most - 1] + scores[-most]) / 2
    assert policy.second.spent == most / len(scores)


def test_the_counts_are_of_rows_that_pass_both(folder, results):
    policy, found = fitted(folder), results.guarantee
    told = {
        "certify": (found.certify_answers, found.certify_wrong),
        "test": (found.test_answers, found.test_wrong),
    }
    for split, counts in told.items():
        given = [
            row
            for row in rows_of(folder, "clean", split)
            if row["signal.msp"] <= policy.certificate.threshold
            and row[f"signal.{SECOND}"] <= policy.second.uncertainty
        ]
        assert counts == (len(given), sum(map(wrong, given)))
    first = [row for row in rows_of(folder, "clean", "test") if row["signal.msp"] <= policy.certificate.threshold]
    withheld = len(first) - found.test_answers
    assert found.second.withheld.value == withheld / found.test_n > 0
    assert results.coverage_loss.steps[-1].images == found.test_answers
    assert results.coverage_loss.steps[-1].sentence == "Answered at both certified thresholds"


def test_the_same_audit_without_a_second_threshold_answers_more(results):
    """The plain policy stands in the plan too; the headline is of the first."""
    pair, capacity, single = results.guarantees
    assert pair.issued
    assert capacity.issued
    assert single.issued
    assert "of both thresholds together" in pair.sentence
    assert "of both thresholds together" in capacity.sentence
    assert "both" not in single.sentence


def test_readers_are_told_of_both(folder, results):
    policy, first = fitted(folder), FirstScreen.of(results)
    assert (
        f"It answers only if it is sure enough (msp at most {policy.certificate.threshold:.4g}" in first.two_thresholds
    )
    assert "and the image does not look changed on purpose (tta(mirror=False) at most " in first.two_thresholds
    assert first.void_when[0] == "the model, preprocessing, either signal or either threshold changes"
    assert results.next_step.startswith("Declare what it is for, then put both thresholds in front of the model")
    page = write(folder, results).path.read_text()
    assert "The guarantee is of both together" in page


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (ACCEPT_ALL, 0.25, "It answers, however sure it is, only if the image looks like those measured (tta(mirr"),
        (0.5, ACCEPT_ALL, "Its second threshold, on tta(mirror=False), withholds nothing"),
        (0.5, 0.25, "It answers only if it is sure enough (msp at most 0.5) and the image looks like those measured ("),
    ],
)
def test_a_threshold_that_lets_everything_pass_is_said_to(results, first, second, words):
    check = results.guarantee.second.model_copy(update={"threshold": second, "purpose": "shift"})
    guarantee = results.guarantee.model_copy(update={"threshold": first, "second": check})
    shown = FirstScreen.of(results.model_copy(update={"guarantee": guarantee}))
    assert shown.two_thresholds.startswith(words)


def test_a_look_is_of_both_signals(folder):
    """The statement that is counted names the second signal and its budget."""
    names = [entry["name"] for entry in read_json(folder / "facts" / "policies.json")]
    assert names == [POLICY, *OTHERS]
    looks = [fitted(folder, place).certificate.look.number for place in range(3)]
    assert sorted(looks) == [1, 2, 3]


def test_a_refusal_is_of_both(tmp_path):
    policy = "certified(risk=0.001, second=energy, purpose='unknown')"
    out = tiny.run(tmp_path / "run", conditions=("clean",), policies=(policy,))
    entry = read_json(out / "facts" / "policies.json")[0]
    assert (
        "where the second score is that of energy, which is to keep out images of none of the classes"
        in (entry["refusal"]["sentence"])
    )
    assert entry["average_loss"] is None
    assert analyse(out).state in {"too_few_labels", "model_too_weak"}


def test_the_same_from_python(tmp_path):
    plan, out = {"conditions.use": ["clean"]}, tmp_path / "run"
    found = demur.audit(tiny.classifier(), tiny.source(), out=out, plan=plan, risk=0.1, attack_signal="energy")
    assert (found.guarantee.risk, found.guarantee.second.signal, found.guarantee.second.purpose) == (
        0.1, "energy", "attack",
    )  # fmt: skip


class TestPlan:
    def test_an_attack_signal_joins_what_is_certified(self):
        plan = read_plan(None, ["policies.use=['certified(risk=0.1, budget=0.05, second=knn)','rule']"])
        assert plan.with_attack_signal("pnorm(p=3)").policies.use == (
            "certified(risk=0.1, delta=0.05, budget=0.05, purpose='attack', second=pnorm(p=3))",
            "rule",
        )

    def test_another_risk_and_a_coverage_keep_it(self):
        plan = read_plan(None).with_attack_signal("knn(k=5)")
        rest = "delta=0.05, purpose='attack', second=knn(k=5))"
        assert plan.at_risk(0.1).policies.use[0] == f"certified(risk=0.1, {rest}"
        assert plan.at_coverage(0.8).policies.use[0] == f"capacity(coverage=0.8, {rest}"
        assert read_plan(None).at_coverage(0.8).with_attack_signal("knn(k=5)") == plan.at_coverage(0.8)

    @pytest.mark.parametrize(
        ("use", "words"), [("['rule']", "certifies nothing"), ("['certified_by_class']", "has certified_by_class")]
    )
    def test_where_it_cannot_stand_it_is_refused(self, use, words):
        with pytest.raises(InputError, match=words):
            read_plan(None, [f"policies.use={use}"]).with_attack_signal("knn")

    def test_an_unknown_signal_is_refused_when_the_plan_is_read(self):
        with pytest.raises(UnknownNameError, match="Did you mean 'knn'"):
            read_plan(None).with_attack_signal("knm")
