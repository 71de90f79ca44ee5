"""`demur attack` as a user meets it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.cli.conftest import refused

from demur.cli.attack_command import attack_words, failed
from demur.pipeline.export import read_arrays

PGD = ("--attack", "pgd(eps=[0.02, 0.1], steps=3)", "--limit", "60")
KILLED = """
import os, signal, sys
from demur.pipeline.export.export_folder import ExportFolder
from demur.cli import main

write, left = ExportFolder.write, [{writes}]

def counted(self, name, content):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, name, content)

ExportFolder.write = counted
sys.argv = ["demur", *sys.argv[1:]]
main()
"""


def test_it_says_what_was_found_and_where_it_lies(demur, good, data):
    said = demur("attack", good, data, *PGD, "--out", "out")
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "pgd(eps=0.02, steps=3) on net"
    assert re.fullmatch(r"  Robust accuracy \d+\.\d % \(\d+\.\d to \d+\.\d\) of 60 images\.", lines[1])
    assert re.fullmatch(r"  Success .* %.*: \d+ of \d+ that were right before\.", lines[2])
    assert re.search(r"Read back: the same 60 predictions; logits differ by at most [\d.e-]+\.", said.out)
    assert re.search(r"In 8 bits: of \d+ successful, \d+ survive.*; lost ", said.out)
    assert lines[-1] == "Files: out/attack.json"
    assert len(lines) == 2 * 6 + 1
    assert said.err.splitlines() == [
        "reading the images",
        "checking the model and the data",
        "1 model × 2 attacks × 60 images: at most about 1,200 passes, and 0 MB of files",
    ]
    assert sorted(path.name for path in Path("out/net").iterdir()) == sorted(
        f"pgd-eps-{eps}-steps-3.{ending}"
        for eps in ("0.02", "0.1")
        for ending in ("safetensors", "rounded.safetensors", "parquet", "png")
    )


def test_json_is_the_whole_of_stdout(demur, good, data):
    said = demur("attack", good, data, *PGD, "--out", "out", "--format", "npz", "--no-quantised", "--json")
    found = json.loads(said.out)
    assert found == json.loads(Path("out/attack.json").read_text())
    assert [entry["attack"] for entry in found["exports"]] == ["pgd(eps=0.02, steps=3)", "pgd(eps=0.1, steps=3)"]
    assert read_arrays(Path("out") / found["exports"][0]["files"]["arrays"]["file"])["images"].shape == (60, 1, 8, 8)
    assert not list(Path("out").rglob("*.safetensors"))


def test_a_transfer_matrix_is_printed_for_each_attack(demur, good, data, factory, tmp_path):
    (tmp_path / "other.py").write_text(
        "from torch import nn\nfrom tests.tiny import Net\n\n"
        "def other():\n    return nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2), Net())\n"
    )
    said = demur("attack", good, data, *PGD, "--out", "out", "--transfer", "module:other:other")
    assert said.status == 0, said.err
    tables = said.out.split("\n\n")[1:]
    assert len(tables) == 2
    header, names, first, second = tables[0].splitlines()
    assert header.startswith("pgd(eps=0.02, steps=3): robust accuracy (share of the successes that carry over)")
    assert names.split() == ["net", "other"]
    assert re.fullmatch(r"net +[\d.]+ % \(100\.0 %\) +[\d.]+ % \([\d.]+ %\)", first)
    assert re.fullmatch(r"other +[\d.]+ % \([\d.]+ %\) +[\d.]+ % \(100\.0 %\)", second)
    assert "2 models × 2 attacks × 60 images" in said.err


@pytest.mark.parametrize(
    "writes", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, 4, 6, 7, 8, 9, 10))]
)
def test_killed_anywhere_the_same_command_comes_to_the_same_bytes(demur, good, data, tmp_path, writes):
    command = ["attack", good, data, *PGD, "--out"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    killed = [sys.executable, "-c", KILLED.format(writes=writes), *command, "killed"]
    assert demur(*command, "whole").status == 0
    assert subprocess.run(killed, capture_output=True, env=environment, check=False).returncode == -signal.SIGKILL
    assert demur(*command, "killed").status == 0
    found = [
        {str(path.relative_to(tmp_path / out)): path.read_bytes() for path in (tmp_path / out).rglob("*.*")}
        for out in ("whole", "killed")
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 8


def test_interrupted_is_status_130(demur, good, data, monkeypatch):
    from demur.pipeline.export import export_job

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export_job, "attack_points", interrupted)
        said = demur("attack", good, data, *PGD, "--out", "out")
    assert said.status == 130
    assert said.out == ""
    assert demur("attack", good, data, *PGD, "--out", "out").status == 0


def test_answers_that_change_fail_the_measurement(demur, good, data, monkeypatch):
    from demur.pipeline.export import export_job

    ask = export_job.logits_of
    monkeypatch.setattr(export_job, "logits_of", lambda *given: ask(*given).roll(1, dims=1))
    said = demur("attack", good, data, *PGD, "--out", "out", "--no-quantised")
    assert said.status == 1
    assert "✖ Read back: 60 of 60 predictions are others" in said.out


def test_a_failed_check_at_the_door_is_said(demur, good, data):
    demur("attack", good, data, *PGD, "--out", "out")
    found = json.loads(Path("out/attack.json").read_text())
    assert not failed(found)
    check = {"name": "deterministic", "state": "fail", "sentence": "Asked twice, outputs differ", "count": 3, "of": 9}
    found["models"][0]["checks"] = [check]
    found["unreadable"] = 4
    assert failed(found)
    assert attack_words(found)[:2] == [
        "4 images could not be read and were not attacked.",
        "✖ net: Asked twice, outputs differ (3 of 9).",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--attack", "pdg(eps=0.1)"), "unknown attack 'pdg'. Did you mean 'pgd'?"),
        (("--attack", "pgd(eps=8)"), "Did you mean 8/255?"),
        (("--attack", "pgd(epsilon=0.1)"), "unknown field 'epsilon'. Did you mean 'eps'?"),
        (("--attack", "pgd(eps=0.1"), "does not parse"),
        (("--attack", "fmn", "--limit", "0"), "`limit` must be at least 1; got 0"),
        (("--attack", "fmn", "--batch", "1"), "'batch'"),
        (("--attack", "fmn", "--set", "data.limit=3"), "unknown setting 'data.limit'"),
        (("--attack", "fmn", "--transfer", "zoo:resnet21@w"), "unknown architecture 'resnet21'"),
        (("--attack", "fmn", "--device", "moon"), "cannot be put on device 'moon'"),
    ],
)
def test_what_cannot_be_is_one_paragraph(demur, good, data, arguments, said):
    refused(demur("attack", good, data, *arguments, "--out", "out"), said)
    assert not Path("out").exists()


def test_models_of_other_images_cannot_be_asked(demur, good, data, tmp_path):
    (tmp_path / "small.py").write_text(
        "from torch import nn\n\ndef small():\n    return nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten())\n"
    )
    said = demur("attack", good, data, *PGD, "--out", "out", "--transfer", "module:small:small?size=4")
    refused(said, "read the same shape", "small has (1, 4, 4) and 3", "Leave small out")


@pytest.mark.parametrize("left_out", ["--attack", "--out"])
def test_what_must_be_given(demur, good, data, left_out):
    given = {"--attack": "fmn", "--out": "out"}
    del given[left_out]
    said = demur("attack", good, data, *(word for pair in given.items() for word in pair))
    assert said.status == 2
    assert left_out in said.err
    assert said.out == ""


def test_a_folder_that_cannot_be_written(demur, good, data, tmp_path):
    (tmp_path / "file").touch()
    refused(demur("attack", good, data, *PGD, "--out", "file/out"), "cannot write the folder file/out: Not a directory")


def test_a_model_that_guesses_is_refused_unless_it_is_to_be_believed(demur, factory, data):
    guessing = factory("return Upside()", _UPSIDE)
    said = demur("attack", guessing, data, *PGD, "--out", "out")
    refused(said, "--set model.trust_labels=true")
    trusted = demur("attack", guessing, data, *PGD, "--out", "out", "--set", "model.trust_labels=true")
    assert trusted.status == 0, trusted.err


_UPSIDE = "class Upside(Net):\n    def forward(self, x):\n        return -super().forward(x)"


def test_eps_may_be_written_as_a_fraction(demur, good, data):
    demur("attack", good, data, "--attack", "fgsm(eps=8/255)", "--limit", "30", "--out", "out")
    arrays = read_arrays("out/net/fgsm-eps-8_255.safetensors")
    assert torch.isclose(arrays["linf"].max(), torch.tensor(8 / 255), atol=1e-6)
