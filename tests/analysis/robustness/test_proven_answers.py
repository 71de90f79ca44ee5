"""What is proven stands beside what was found, on the same images; a contradiction of the two fails the measurement."""

import json
import shutil
from itertools import pairwise

import pytest
from tests import tiny
from tests.analysis import factory_runs
from torch import nn

from demur.analysis import analyse
from demur.analysis.robustness.least_distances import least_distances
from demur.analysis.robustness.proven_answers import proven_rows
from demur.analysis.run_folder import Run
from demur.analysis.verdict.proof_checks import proof_checks
from demur.classifier import BoundClassifier
from demur.files import read_json
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.loop import run_plan
from demur.report import render as page

PLAN = {
    "conditions.use": ["clean", "pgd(eps=0.02, keep='worst', steps=8)"],
    "conditions.attacked": 120,
    "policies.use": ["certified(risk=0.2)"],
    "signals.certify": "msp",
    "proof.images": 100,
    "proof.eps": [0.0005, 0.02, 0.3],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return factory_runs.run(tmp_path_factory.mktemp("proof") / "run", **PLAN)


@pytest.fixture(scope="module")
def found(folder):
    return analyse(folder)


def check_of(results):
    return next(check for check in results.checks if check.name == "nothing proven is broken")


def test_the_truth_lies_between_what_is_proven_and_what_was_found(found):
    assert found.proof.images == 100
    assert [row.eps for row in found.proof.sizes] == [0.0005, 0.02, 0.3]
    assert [row.attacked for row in found.proof.sizes] == [False, True, True]
    for row in found.proof.sizes:
        assert row.proven.n == row.found.n == 100
        assert row.proven.value <= row.found.value
        assert row.accepted_wrong_found.value <= row.accepted_wrong_proven.value
    assert found.proof.sizes[0].proven.value > 0.3
    for one, other in pairwise(found.proof.sizes):
        assert one.proven.value >= other.proven.value
        assert one.accepted_wrong_proven.value <= other.accepted_wrong_proven.value
    assert found.proof.guard == "msp"
    assert found.proof.sizes[0].accepted_wrong_proven.value < 1 - found.proof.sizes[0].proven.value + 1e-9
    assert sum(row.n for row in found.proof.per_class) == 100
    assert check_of(found).state == "pass"


def changed(folder, tmp_path, change):
    """The run with other facts of the proof, as if the audit had left them so."""
    other = tmp_path / "run"
    shutil.copytree(folder, other)
    facts = read_json(other / "facts/proof.json")
    change(facts)
    (other / "facts/proof.json").write_text(json.dumps(facts))
    return Run(other)


def test_an_image_that_is_proven_and_broken_fails_the_measurement(folder, tmp_path):
    def all_proven(facts):
        facts["sizes"][1]["right"] = [True] * 100

    (check,) = proof_checks(changed(folder, tmp_path, all_proven))
    broken = (
        least_distances(Run(folder), "linf", proven_rows(Run(folder), read_json(folder / "facts/proof.json"))) <= 0.02
    )
    assert (check.state, check.count, check.of) == ("fail", broken.sum(), 100)
    assert check.count > 0


def test_a_radius_beyond_a_point_that_was_found_fails_the_measurement(folder, tmp_path):
    (check,) = proof_checks(changed(folder, tmp_path, lambda facts: facts.update(radii=[0.3] * 100)))
    assert check.state == "fail"


def test_a_guard_that_answers_all_is_as_wrong_as_what_is_not_proven(folder, found):
    """Images that are proven right cannot be answered wrongly, however low the threshold."""
    for row in found.proof.sizes:
        assert row.accepted_wrong_proven.value <= 1 - row.proven.value + 1e-9


class Softened(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tiny.Net()

    def forward(self, x):
        return self.net(x).softmax(dim=1).log()


def test_a_layer_without_a_bound_is_named(tmp_path):
    plan = read_plan(None, (), factory_runs.PLAN | PLAN)
    model = BoundClassifier(Softened().eval(), classes=factory_runs.CLASSES, input_shape=tiny.SHAPE)
    results = analyse(run_plan(plan, tmp_path / "run", tiny.Quiet(), factory_runs.Modules(), model))
    assert results.proof.reason == "the operation softmax"
    assert results.proof.sizes == ()
    assert not [check for check in results.checks if check.name == "nothing proven is broken"]
    assert "no bound is known for the operation softmax" in page(results)


def test_found_and_proven_are_columns_of_one_table(found):
    text = page(found)
    assert "Right, proven at least" in text
    assert "Accepted and wrong, proven at most" in text
    assert text.count("no attack of this size") == 1


def test_a_run_without_a_proof_has_no_table(tmp_path):
    results = factory_runs.results(tmp_path / "run")
    assert results.proof is None
    assert "Found and proven" not in page(results)
