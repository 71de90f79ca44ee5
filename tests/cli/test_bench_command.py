"""`demur bench` as a user meets it."""

import json
from pathlib import Path

from tests.cli.conftest import refused

SHORT = ("--seconds", "0.02", "--batch", "1,8")


def test_each_signal_has_a_row_at_each_size(demur, good, data):
    said = demur("bench", good, data, "--signal", "msp", "--signal", "tta(mirror=False)", *SHORT)
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].endswith("on cpu (x86_64), 1 thread") or "thread" in lines[0]
    assert lines[1].startswith("Images: 256 of parquet:")
    starts = [line.split("  ")[0] for line in lines]
    assert starts[3:7] == ["batch 1", "model", "+ msp", "+ tta(mirror=False)"]
    assert starts[8:12] == ["batch 8", "model", "+ msp", "+ tta(mirror=False)"]
    assert "%" in lines[5]
    assert "%" not in lines[4]


def test_json_is_the_whole_of_stdout(demur, good):
    said = demur("bench", f"{good}?size=8&channels=1&classes=a,b,c", "--signal", "msp", *SHORT, "--json")
    assert said.status == 0, said.err
    found = json.loads(said.out)
    assert [(row["name"], row["batch"]) for row in found["rows"]] == [
        ("model", 1), ("msp", 1), ("model", 8), ("msp", 8)
    ]  # fmt: skip
    row = found["rows"][1]
    assert row["p50"]["n"] == row["asks"] >= 1
    assert row["overhead"]["value"] is not None
    assert found["rows"][0]["overhead"] == {
        "value": None, "low": None, "high": None, "n": 0, "reason": "this is the model alone"
    }  # fmt: skip
    assert found["images"].startswith("drawn at random")


def test_a_signal_that_was_named_and_cannot_be_timed_is_said(demur, good, data):
    said = demur("bench", good, data, "--signal", "msp", "--signal", "knn", *SHORT)
    assert said.status == 1
    assert "Left out: knn: " in said.out
    assert "+ msp" in said.out


def test_what_cannot_be_is_refused(demur, good, data):
    refused(demur("bench", good, data, "--batch", "1,many"), "--batch takes whole numbers")
    refused(demur("bench", good, data, "--batch", "0"), "at least 1 image")
    refused(demur("bench", good, data, "--signal", "mps"), "Did you mean 'msp'")
    refused(demur("bench", good, data, "--seconds", "0"), "more than 0")
    refused(demur("bench", good), "?size=32&channels=3")


def test_a_run_is_timed_as_it_was_audited_and_its_report_shows_it(demur, good, data):
    plan = ("--set", 'conditions.use=["clean"]', "--set", 'signals.use=["msp", "energy"]')
    assert demur("audit", good, data, *plan, "--out", "run").status in {0, 1, 3}
    said = demur("bench", "--out", "run", *SHORT)
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith(f"{good}: ")
    assert lines[1].startswith("Images: 256 of parquet:")
    assert [line.split("  ")[0] for line in lines[3:7]] == ["batch 1", "model", "+ msp", "+ energy"]
    assert lines[-1] == "Kept in run. Next: demur report run"
    assert demur("report", "run").status in {0, 1, 3}
    assert "Latency and overhead" in Path("run/report.html").read_text()
    said = demur("bench", "--out", "run", "--signal", "margin", *SHORT, "--json")
    assert json.loads(said.out) == json.loads(Path("run/timings/bench.json").read_text())
    assert {row["name"] for row in json.loads(said.out)["rows"]} == {"model", "margin"}


def test_without_a_model_or_a_run_nothing_can_be_timed(demur):
    refused(demur("bench"), "name a model to time")
    refused(demur("bench", "fashion", "--out", "nowhere"), "nowhere/run.json does not exist")
