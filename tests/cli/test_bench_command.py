"""`demur bench` as a user meets it."""

import json

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
