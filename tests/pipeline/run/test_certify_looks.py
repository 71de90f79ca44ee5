"""Which look an audit is: the same for repeats, attacks, restarts and other batches of rows; the next for all else."""

import json

import pytest
from tests import tiny

from demur.data import build_index, from_tensors
from demur.files import read_json
from demur.pipeline.job import Job
from demur.pipeline.plan.plan_tables import Signals
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.run.certify_looks import inquiry, statements
from demur.policies import Look, load_policy

POLICIES = ("certified(risk=0.2)",)
CLEAN = {"conditions": ("clean",), "policies": POLICIES}


def looks_of(run):
    found = read_json(run / "facts" / "policies.json")
    return [Look(**(each["refusal"] if "refusal" in each else each["policy"]["certificate"])["look"]) for each in found]


def tensors(rows=120, seed=0, relabelled=None, groups=None):
    images, labels = tiny.images_and_labels(400, seed=seed)
    if relabelled is not None:
        labels[relabelled] = (labels[relabelled] + 1) % 3
    return from_tensors(images[:rows], labels[:rows], classes=tiny.CLASSES, groups=groups, name="some")


def job(source=None, model=None, data=None, **changes):
    """The job of an audit of 120 patterns; nothing is measured."""
    plan = tiny.plan(**(CLEAN | changes))
    plan = plan.model_copy(update={"data": plan.data.model_copy(update=data or {})})
    source = source or tensors()
    return Job.of(resolve(plan, source), model or tiny.classifier(), source, build_index(source))


def line(*given, **changes):
    found = inquiry(job(*given, **changes)).line(["certified(risk=0.2)"])
    return found["looks"], found["rows"], found["source"]


@pytest.mark.parametrize(
    "changes",
    [
        {"conditions": ("clean", "gaussian_noise(severity=1)")},
        {"policies": ("certified(risk=0.2)", "rule")},
        {"gates": {"clean.accuracy": ">= 0.5"}},
        {"attacked": 7},
        {"seed": 1},
    ],
    ids=["conditions", "policies", "gates", "attacked", "seed"],
)
def test_what_measures_something_else_is_the_same_look(changes):
    assert line(**changes) == line()


def test_other_models_signals_labels_and_groups_are_other_looks():
    changed = [
        line(),
        line(model=tiny.classifier(sharpness=6.0)),
        line(signals=Signals(use=("msp",))),
        line(signals=Signals(use=("msp", "label_change_rate(mutants=3)"))),
        line(signals=Signals(use=("msp", "label_change_rate(mutants=3)")), seed=1),
        *(line(tensors(relabelled=row)) for row in (0, 1, 2, 3)),
        line(tensors(groups=[f"lot {row // 2}" for row in range(120)])),
        line(tensors(119)),
    ]
    looks = [each[0][0] for each in changed]
    assert len(set(looks)) == len(looks)


def test_the_rows_that_place_thresholds_make_a_look_and_are_not_shared():
    """A relabelled tune row leaves the certify rows as they are and is another test of them."""
    row = int(job().index.rows_of("tune")[0])
    (look, rows, _), (other, kept, _) = line(tensors(relabelled=row)), line()
    assert (rows, look == other) == (kept, False)


def test_a_source_that_is_named_stands_in_the_line():
    assert line(data={"source": "line 3"})[2] == "line 3"
    assert line(data={"source": "line 3"})[0] == line()[0]


def test_one_more_label_and_another_risk_are_later_looks_and_a_repeat_is_none(tmp_path):
    def look(name, rows, risk=0.2):
        run = tiny.run(
            tmp_path / "runs" / name, tensors(rows), conditions=("clean",), policies=(f"certified(risk={risk})",)
        )
        return looks_of(run)[0].number

    assert [look("a", 119), look("b", 120), look("c", 120, 0.3), look("d", 119)] == [1, 2, 3, 1]
    first, repeat = (tmp_path / "runs" / name / "facts" / "policies.json" for name in "ad")
    assert first.read_bytes() == repeat.read_bytes()


def test_an_audit_that_goes_on_keeps_its_number_and_its_bytes(tmp_path, monkeypatch):
    whole = tiny.run(tmp_path / "alone" / "a", tensors(), **CLEAN)
    with monkeypatch.context() as patch:
        patch.setattr("demur.pipeline.run.loop.fit_policies", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            tiny.run(tmp_path / "runs" / "a", tensors(), **CLEAN)
    other = tiny.run(tmp_path / "runs" / "b", tensors(), **(CLEAN | {"policies": ("certified(risk=0.3)",)}))
    again = tiny.run(tmp_path / "runs" / "a", tensors(), **CLEAN)
    assert (looks_of(again), looks_of(other)) == ([Look(1, "runs")], [Look(2, "runs")])
    assert tiny.hashes(again) == tiny.hashes(whole)


def _interrupt(*_):
    raise KeyboardInterrupt


def test_two_guarantees_of_a_plan_are_two_looks(tmp_path):
    run = tiny.run(
        tmp_path / "runs" / "a",
        tensors(),
        conditions=("clean",),
        policies=("certified(risk=0.2)", "certified(risk=0.3)"),
    )
    assert looks_of(run) == [Look(1, "runs"), Look(2, "runs")]


def test_every_policy_that_reads_certify_labels_is_a_look(tmp_path):
    policies = ("capacity(coverage=0.8)", "rule", "certified_by_class(risk=0.3)", "certified(risk=0.3)")
    assert list(statements(job(policies=policies))) == [policies[0], *policies[2:]]
    run = tiny.run(tmp_path / "runs" / "a", tensors(), conditions=("clean",), policies=policies)
    found = {entry["name"]: entry for entry in read_json(run / "facts" / "policies.json")}
    looks = [
        (found[text].get("refusal") or found[text]["policy"]["certificate"])["look"]["number"]
        for text in policies
        if text != "rule"
    ]
    assert looks == [1, 2, 3]


def test_ids_that_were_lost_in_the_run_folder_come_back(tmp_path):
    run = tiny.run(tmp_path / "runs" / "a", tensors(), **CLEAN)
    (kept,) = (run / "opened").iterdir()
    content = kept.read_bytes()
    kept.write_bytes(b"")
    assert tiny.run(run, tensors(), **CLEAN) == run
    assert kept.read_bytes() == content
    assert looks_of(run) == [Look(1, "runs")]


def test_a_certificate_carries_its_look_and_its_bound_on_coverage(tmp_path):
    run = tiny.run(tmp_path / "runs" / "a", tiny.source(900), conditions=("clean",), policies=POLICIES)
    (entry,) = read_json(run / "facts" / "policies.json")
    certificate = load_policy(entry["policy"]).certificate
    assert (certificate.look, certificate.coverage.rows) == (Look(1, "runs"), "test")
    assert certificate.coverage.n == json.loads((run / "run.json").read_text())["splits"]["test"]


def test_below_600_images_msp_is_fixed_and_every_label_serves_the_guarantee(tmp_path):
    run = tiny.run(tmp_path / "runs" / "a", tiny.source(590), conditions=("clean",), policies=POLICIES)
    splits = json.loads((run / "run.json").read_text())["splits"]
    assert splits["test"] == splits["fit"] == 0
    assert splits["certify"] > 3 * splits["tune"]
    (entry,) = read_json(run / "facts" / "policies.json")
    assert entry["signal"] == "msp"
    assert load_policy(entry["policy"]).certificate.coverage.rows == "certify"
