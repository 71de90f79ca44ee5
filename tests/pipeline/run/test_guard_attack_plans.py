"""A plan that attacks the guard: which images, when, and what of it is kept where the audit is stopped."""

import shutil

import pytest
import torch
from tests import tiny

from demur.analysis import analyse
from demur.analysis.run_folder import Run
from demur.errors import InputError, RunError
from demur.files import read_json
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.plan.plan_tables import GuardAttackPlan
from demur.pipeline.run import loop
from demur.pipeline.run.guard_attack_facts import _numbers, certified_policy
from demur.policies import CertifiedThreshold, decide
from demur.report import render

SIZES = (0.02, 0.05)
FILES = ("facts/guard_attack_0.json", "facts/guard_attack_1.json")


def run(out, **changes):
    given = {"conditions": ("clean", "fgsm(eps=0.05)"), "policies": ("certified(risk=0.1)",), "attacked": 30}
    attack = GuardAttackPlan(images=10, eps=SIZES, steps=2)
    return tiny.run(out, **{**given, "guard_attack": attack, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run(tmp_path_factory.mktemp("guarded") / "run")


@pytest.fixture
def sizes_measured(monkeypatch):
    """The sizes at which the guard is attacked from now on; more than so many stop the audit."""
    found, work = [], loop.guard_attack_facts

    def counted(job, policy, eps):
        if len(found) == counted.most:
            raise KeyboardInterrupt
        found.append(eps)
        return work(job, policy, eps)

    counted.most = None
    monkeypatch.setattr(loop, "guard_attack_facts", counted)
    return found, counted


def test_test_images_are_attacked_with_the_bounds_of_the_guard(folder):
    clean = {row["sample_id"]: row for row in Run(folder).rows("clean").iter_rows(named=True)}
    attacked = Run(folder).rows("fgsm(eps=0.05)")["sample_id"].to_list()
    name, policy = certified_policy(read_json(folder / "facts/policies.json"))
    assert name == read_json(folder / "facts/guard_attack.json")["policy"]
    assert isinstance(policy, CertifiedThreshold)
    for file, eps in zip(FILES, SIZES, strict=True):
        facts = read_json(folder / file)
        assert facts["eps"] == eps
        assert len(facts["sample_ids"]) == 10
        assert set(facts["sample_ids"]) <= set(attacked)
        assert {clean[name]["split"] for name in facts["sample_ids"]} == {"test"}
        assert [each["alpha"] for each in facts["abstention"]] == [1.0, 0.5, 0.25, 0.125]
        for points in facts["attackers"].values():
            assert max(points["distance"]) <= eps + 1e-6
            assert set(points["scores"]) == set(policy.signals)
            assert len(decide(policy, points["scores"]).accepted) == 10


def test_a_stopped_audit_keeps_the_sizes_it_has(folder, sizes_measured, tmp_path):
    measured, counted = sizes_measured
    counted.most = 1
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run")
    with pytest.raises(RunError, match="is not finished"):
        analyse(tmp_path / "run")
    counted.most = None
    assert tiny.hashes(run(tmp_path / "run")) == tiny.hashes(folder)
    assert measured == list(SIZES)


def test_a_policy_that_was_changed_has_its_guard_attacked_anew(folder, sizes_measured, tmp_path):
    measured, _ = sizes_measured
    run(tmp_path / "run")
    path = tmp_path / "run" / "facts" / "policies.json"
    path.write_text(path.read_text().replace('"delta": 0.05', '"delta": 0.04'))
    assert tiny.hashes(run(tmp_path / "run")) == tiny.hashes(folder)
    assert measured == [*SIZES, *SIZES]


@pytest.mark.parametrize("harm", [lambda path: path.write_text("{}"), lambda path: path.unlink()])
@pytest.mark.parametrize("at", range(len(SIZES)))
def test_a_size_that_was_changed_or_lost_is_attacked_anew_and_no_other(folder, sizes_measured, tmp_path, at, harm):
    measured, _ = sizes_measured
    out = shutil.copytree(folder, tmp_path / "run")
    harm(out / FILES[at])
    assert tiny.hashes(run(out)) == tiny.hashes(folder)
    assert measured == [SIZES[at]]
    assert len(analyse(out).guard_attack.sizes) == len(SIZES)


def test_without_a_guarantee_nothing_is_attacked(tmp_path):
    out = run(tmp_path / "run", policies=("certified(risk=0.0001)", "rule"))
    assert not list(out.glob("facts/guard_attack*"))
    results = analyse(out)
    assert results.guard_attack is None
    assert "The guard under attack" not in render(results)


def test_without_test_images_it_is_said_why(tmp_path):
    results = analyse(run(tmp_path / "run", of=tiny.source(400)))
    assert results.state == "issued"
    assert results.guard_attack.reason.startswith("there are no test images")
    assert results.guard_attack.sizes == ()
    assert "Not attacked" in render(results)
    assert not [check for check in results.checks if check.bears_on == "the guard under attack"]


def test_by_default_a_plan_that_names_conditions_attacks_no_guard(tmp_path):
    out = run(tmp_path / "run", guard_attack=GuardAttackPlan())
    assert not list(out.glob("facts/guard_attack*"))


def test_scores_that_are_no_number_are_kept_apart_from_infinite_ones():
    """A guard withholds the first and decides by the others."""
    values = torch.tensor([0.5, float("nan"), float("inf"), -float("inf")])
    assert _numbers(values) == [0.5, None, "inf", "-inf"]


@pytest.mark.parametrize(
    "setting", ["guard_attack.eps=[0]", "guard_attack.eps=[8]", "guard_attack.steps=0", "guard_attack.images=-1"]
)
def test_what_cannot_be_is_refused(setting):
    with pytest.raises(InputError, match="guard_attack"):
        read_plan(None, [setting])
