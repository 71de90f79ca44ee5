"""Run folders that earlier versions wrote can still be read."""

import json
import shutil
from pathlib import Path

import pytest

import demur
from demur.analysis import write_results
from demur.pipeline.plan.conditions import conditions
from demur.records import SCHEMA_VERSION, read
from demur.registry import build, describe, parse
from demur.report import write

GOLDEN = Path(__file__).parents[1] / "golden"
RUNS = sorted(GOLDEN.glob("run-v*"))
KNOWN = {"run-v1": {"rows": 104, "state": "issued", "right": 0.95, "refused": 1}}


def test_every_schema_has_a_golden_run():
    assert [run.name for run in RUNS] == [f"run-v{version}" for version in range(1, SCHEMA_VERSION + 1)]
    assert sum(path.stat().st_size for run in RUNS for path in run.rglob("*") if path.is_file()) < 150_000 * len(RUNS)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_golden_run_still_reads(run):
    known = KNOWN[run.name]
    results = demur.analyse(run)
    assert len(read(run)) == known["rows"]
    assert results.state == known["state"]
    assert results.accuracy.value == pytest.approx(known["right"], abs=0.005)
    policies = json.loads((run / "facts" / "policies.json").read_text())
    assert sum("refusal" in policy for policy in policies) == known["refused"]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_golden_run_still_becomes_a_report(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / run.name)
    results = write_results(copy)
    read_back = demur.Results.model_validate_json((copy / "results.json").read_text())
    assert read_back.model_dump_json() == results.model_dump_json()
    assert write(copy, results).path.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_names_in_a_golden_run_still_mean_themselves(run):
    facts = json.loads((run / "run.json").read_text())
    texts = [entry["name"] for entry in facts["conditions"]]
    assert [condition.name for condition in conditions(texts, tuple(facts["input_shape"]))] == texts
    for entry in facts["signals"]:
        assert describe(parse(entry["name"]).name, build("signal", entry["name"])) == entry["name"]
