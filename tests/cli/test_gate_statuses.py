"""Exit statuses of gates, by the table and by the command line."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.report.gate_results import gated

from demur.cli.settings import status

PASS, FAIL, OPEN = {"checks.failed": "<= 0"}, {"robust.accuracy": ">= 0.5"}, {"worst_class.accuracy": ">= 0.75"}


@pytest.mark.parametrize(
    ("state", "rules", "expected"),
    [
        ("issued", {}, 0),
        ("issued", PASS, 0),
        ("issued", FAIL, 1),
        ("issued", OPEN, 3),
        ("issued", FAIL | OPEN, 1),
        ("too_few_labels", PASS, 1),
        ("model_too_weak", {}, 1),
        ("measurement_failed", {}, 1),
        ("measurement_failed", OPEN, 1),
        ("undeclared", {}, 3),
        ("undeclared", PASS, 0),
        ("undeclared", PASS | OPEN, 3),
        ("undeclared", FAIL, 1),
    ],
)
def test_a_state_and_its_gates_end_in_one_status(state, rules, expected):
    assert status(gated(rules, state)) == expected


@pytest.mark.parametrize(
    ("bar", "outcome", "expected"), [("0.1", "pass", 0), ("0.99", "fail", 1), ("0.93", "inconclusive", 3)]
)
def test_audit_and_report_end_alike_and_leave_the_files_for_ci(demur, good, data, tmp_path, bar, outcome, expected):
    (tmp_path / "plan.toml").write_text(
        f'[conditions]\nuse = ["clean"]\n[policies]\nuse = ["rule"]\n[gates]\n"clean.accuracy" = ">= {bar}"\n'
    )
    said = demur("audit", good, data, "--plan", "plan.toml", "--out", "run", "--json")
    gate = json.loads(said.out)["gates"][0]
    assert gate["outcome"] == outcome, gate
    assert said.status == expected
    again = demur("report", "run")
    assert again.status == expected
    assert "Gates: " in again.out
    assert len(again.out.splitlines()) <= 24
    assert "clean.accuracy" in Path("run/summary.md").read_text()
    tags = [child.tag for case in ET.parse("run/junit.xml").getroot().iter("testcase") for child in case]
    assert {"pass": "system-out", "fail": "failure", "inconclusive": "error"}[outcome] in tags


def test_an_unknown_gate_is_status_2(demur, good, data):
    said = demur("audit", good, data, "--set", 'gates."clean.acuracy"=">= 0.8"')
    assert said.status == 2
    assert "Did you mean 'clean.accuracy'?" in said.err
