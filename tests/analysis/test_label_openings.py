"""How often the test labels were opened, and gates that were changed after that."""

import shutil
import tomllib

import pytest
from tests import tiny

from demur.analysis import analyse, write_results
from demur.analysis.acceptance import label_access
from demur.openings import FILE, note, openings

SMALL = {"conditions": ("clean",), "policies": ("certified(risk=0.3)",)}


@pytest.fixture
def run(tmp_path):
    """A function that audits with some gates into a folder of the same runs, and works out the results."""

    def audited(name, gates, **changes):
        folder = tiny.run(tmp_path / "runs" / name, tiny.source(400), **(SMALL | changes), gates=gates)
        return write_results(folder, by="audit").label_access

    return audited


def test_every_audit_and_report_on_the_same_images_counts(run, tmp_path):
    assert run("a", {}).test == 1
    assert run("b", {}, seed=1).test == 2
    again = write_results(tmp_path / "runs" / "a").label_access
    assert (again.test, again.certify, again.plans, again.models) == (3, 2, 2, 1)
    assert again.sentence.startswith("Test opened 3 times, under 2 plans and for 1 model, first on 20")
    assert again.first_certify < again.first_test


def test_reading_the_results_opens_nothing(run, tmp_path):
    run("a", {})
    folder = tmp_path / "runs" / "a"
    assert analyse(folder).label_access == analyse(folder).label_access
    assert analyse(folder).label_access.test == 1


def test_gates_that_stood_before_are_not_called_changed(run, tmp_path):
    gates = {"clean.accuracy": ">= 0.5"}
    assert run("a", gates).gate_changes == ()
    assert run("b", gates, seed=1).gate_changes == ()
    assert write_results(tmp_path / "runs" / "a").label_access.gate_changes == ()


def test_a_changed_a_new_and_a_dropped_gate_are_told(run):
    run("a", {"clean.accuracy": ">= 0.9", "checks.failed": "<= 0"})
    found = run("b", {"clean.accuracy": ">= 0.5", "guarantee.issued": "true"})
    assert found.gate_changes == (
        "checks.failed: dropped, was <= 0",
        "clean.accuracy: >= 0.5, was >= 0.9",
        "guarantee.issued: true, not asked before",
    )
    later = run("c", {"clean.accuracy": ">= 0.5", "guarantee.issued": "true"}, seed=1)
    assert later.gate_changes == found.gate_changes, "a change stays visible however often the new gates are used"


def test_gates_changed_before_the_test_was_opened_are_no_matter(run, tmp_path):
    folder = tiny.run(tmp_path / "runs" / "z", tiny.source(400), **SMALL, gates={"clean.accuracy": ">= 0.9"})
    assert tomllib.loads((folder / "plan.toml").read_text())["gates"]
    assert run("a", {"clean.accuracy": ">= 0.5"}).gate_changes == ()


def test_a_run_of_an_earlier_version_says_nothing(tmp_path, folder):
    copy = shutil.copytree(folder, tmp_path / "runs" / "old")
    (copy / FILE).unlink()
    assert label_access(openings(copy)) is None
    note(copy, "test", "report")
    assert label_access(openings(copy)).test == 1
