"""`demur monitor`: tables, JSON, and what it refuses."""

import json
import math

import numpy as np
import pytest
from tests.analysis.test_stream_alarms import made, normal
from tests.cli.conftest import refused

from demur.analysis.stream_alarms import StreamAlarms, StreamNumber
from demur.cli.monitor_command import _number, _percent
from demur.openings import openings

SHORT = ("--streams", "20", "--before", "80", "--after", "60", "--budget", "0.05")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitored") / "run"
    made(folder, normal(900, 1), normal(700, 2), noise=normal(300, 3, 4.0), few=np.ones(4))
    return folder


def test_each_window_is_watched_twice(demur, run):
    before = openings(run)
    said = demur("monitor", run, "--window", "5", "--window", "20", *SHORT)
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert (
        lines[0]
        == f"{run}: msp, mean of a window. Threshold of 900 tune images, above which 5 % of clean windows may lie."
    )
    assert lines[1].startswith("20 streams: 80 clean images, drawn from 700 test images, then 60 of a condition.")
    heads = [line for line in lines if line.startswith("Window of ")]
    assert [head.partition(", 0")[0].partition(", 1")[0] for head in heads] == [
        "Window of 5, the threshold stays",
        "Window of 5, the threshold follows, memory 500",
        "Window of 20, the threshold stays",
        "Window of 20, the threshold follows, memory 500",
    ]
    assert [line.split("  ")[0] for line in lines if line.startswith(("clean", "noise"))] == [
        "clean: no change",
        "noise",
    ] * 4
    assert "100.0 % (83.9 to 100.0)" in next(line for line in lines if line.startswith("noise"))
    assert lines[-1] == "Left out: few: 4 test images with a score, at least 30 are needed."
    assert "nan" not in said.out
    assert openings(run) == before, "no label is read"


def test_json_is_the_whole_of_stdout(demur, run):
    said = demur("monitor", run, "--condition", "noise", "--signal", "energy", "--memory", "30", *SHORT, "--json")
    assert said.status == 0
    found = StreamAlarms.model_validate_json(said.out)
    assert (found.signal, [row.memory for row in found.monitors]) == ("energy", [None, 30])
    assert [row.window for row in found.monitors] == [50, 50]
    assert json.loads(said.out)["monitors"][0]["changes"][1]["condition"] == "noise"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--condition", "nois"), "unknown condition 'nois'"),
        (("--signal", "mpsp"), "unknown signal 'mpsp'"),
        (("--statistic", "max"), "unknown statistic 'max'"),
        (("--window", "0"), "`window` is a number of images"),
        (("--window", "2000"), "`before` must hold a window"),
    ],
)
def test_what_cannot_be_is_refused(demur, run, options, words):
    refused(demur("monitor", run, *options), words)


def test_a_folder_without_a_run_is_refused(demur, tmp_path):
    refused(demur("monitor", tmp_path / "none"), "is not a run folder")


@pytest.mark.parametrize(
    ("ends", "above", "words"),
    [
        ((12, 9, 15), (), "12 (9 to 15)"),
        ((900, 700, 1000), ("high",), "900 (700 to > 1,000)"),
        ((1000, 800, 1000), ("value", "high"), "> 1,000 (800 to > 1,000)"),
        ((1000, 1000, 1000), ("value", "low", "high"), "> 1,000"),
        ((12, math.nan, math.nan), (), "12"),
        ((math.nan, math.nan, math.nan), (), "–"),
    ],
)
def test_a_number_is_as_sure_as_it_is(ends, above, words):
    value, low, high = ends
    assert _number(StreamNumber(value=value, low=low, high=high, above=above, streams=9), 0) == words


def test_a_share_of_nothing_is_none():
    assert _percent(StreamNumber(value=math.nan, low=math.nan, high=math.nan, streams=0)) == "–"
    assert _percent(StreamNumber(value=0.125, low=math.nan, high=math.nan, streams=5)) == "12.5 %"
