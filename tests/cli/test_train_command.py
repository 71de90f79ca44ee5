"""`demur train` as a user meets it, kills included."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from tests.cli.conftest import refused

from demur.cli.train_command import EpochTable, _found, _recipe
from demur.errors import InputError
from demur.training import EpochRow
from demur.training.model_card import scores

COMMAND = ["train", "compact_resnet", "digits", "--set", "mirror=False", "--epochs", "2", "--batch", "256"]
KILLED = """
import os, signal, sys
from demur.cli import main, settings

def advance(self, rows, what, steps=[0]):
    steps[0] += 1
    if steps[0] == {steps}:
        os.kill(os.getpid(), signal.SIGKILL)

settings.Lines.advance = advance
sys.argv = ["demur", *sys.argv[1:]]
main()
"""


def run(*arguments, code=None):
    command = [sys.executable, "-m", "demur"] if code is None else [sys.executable, "-c", code]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )


def epochs(answer):
    """The lines of epochs; those of slow progress begin with a share."""
    return [line for line in answer.stderr.splitlines() if line.split()[:1] and line.split()[0].isdecimal()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(*COMMAND, "--out", folder)


def test_it_says_what_came_out_and_what_to_do_next(whole):
    folder, answer = whole
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert len(lines) <= 15
    assert lines[0] == "Learned from 1,092 images."
    assert "images set aside" in lines[1]
    assert lines[-1] == f"Next: demur audit 'zoo:compact_resnet@{folder}/model.safetensors' 'digits'"
    assert f"curves: {folder}/curves.svg" in answer.stdout
    assert (folder / "curves.svg").read_text().startswith("<svg")
    assert "learning" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize("steps", [5, 6, 7])
def test_killed_in_the_second_epoch_the_same_command_comes_to_the_same_bytes(whole, tmp_path, steps):
    assert run(*COMMAND, "--out", tmp_path, code=KILLED.format(steps=steps)).returncode == -signal.SIGKILL
    assert not (tmp_path / "model.safetensors").exists()
    answer = run(*COMMAND, "--out", tmp_path)
    assert "continued after epoch 1 of 2" in answer.stderr
    assert [line.split()[0] for line in epochs(answer)] == ["2"]
    for name in ("model.safetensors", "model.manifest", "curves.csv", "curves.svg"):
        assert (tmp_path / name).read_bytes() == (whole[0] / name).read_bytes()


def test_each_epoch_has_a_line_with_the_f1_of_each_class(whole):
    lines = whole[1].stderr.splitlines()
    head = next(k for k, line in enumerate(lines) if line.startswith("epoch "))
    assert lines[head].split() == ["epoch", "loss", "held", "out", "right", "F1:", *map(str, range(10))]
    kept = [line.split(",") for line in (whole[0] / "curves.csv").read_text().splitlines()[1:]]
    assert len(kept) == 2
    for cells, line in zip(kept, epochs(whole[1]), strict=True):
        loss, _, held_out, accuracy, *f1 = map(float, cells[1:])
        shown = [cells[0], f"{loss:.4f}", f"{held_out:.4f}", f"{100 * accuracy:.1f}", "%"]
        assert line.split() == [*shown, *(f"{share:.2f}".removeprefix("0") for share in f1)]
        assert len(line) == len(lines[head])


class Kept:
    def __init__(self):
        self.lines = []

    def keep(self, line):
        self.lines.append(line)


def test_of_many_classes_the_lowest_are_named_and_what_is_undefined_is_a_dash():
    names, kept = [f"kind {k}" for k in range(12)], Kept()
    row = EpochRow(epoch=7, train_loss=0.5, held_out=9, held_out_loss=0.25, accuracy=1.0, f1=(*[1.0] * 9, None, 0.5, 0))
    EpochTable(kept).epoch(row, names)
    assert kept.lines[0].endswith("right   lowest F1")
    assert " ".join(kept.lines[1].split()) == "7 0.5000 0.2500 100.0 % kind 11 .00, kind 10 .50, kind 0 1.00"
    EpochTable(kept).epoch(EpochRow(epoch=1, train_loss=2.0, f1=(None, None)), ["a", "b"])
    assert kept.lines[-1].split() == ["1", "2.0000", "–", "–", "–", "–"]


def test_another_training_in_the_folder_is_refused_in_one_paragraph(whole, demur):
    refused(demur(*COMMAND, "--out", whole[0], "--seed", 1), "belongs to another training", "seed: 0 before, 1 now")


def test_options_win_over_settings_and_settings_over_the_name():
    text = "standard(epochs=3, batch=8, shift=1)"
    assert (
        _recipe(text, ["shift=4", "batch=16"], {"epochs": None, "batch": 32}) == "standard(batch=32, epochs=3, shift=4)"
    )


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(InputError, match="--set takes FIELD=VALUE"):
        _recipe("standard", ["shift"], {})


def test_the_worst_classes_are_told_and_those_not_seen_left_out():
    labels = np.repeat(np.arange(12), 5)
    predicted = np.where(labels == 7, 3, labels)
    lines = _found(scores(predicted, labels, [f"kind {k}" for k in range(14)]))
    assert len(lines) == 2 + 10
    assert lines[1].startswith("worst classes")
    assert lines[2].split() == ["kind", "7", "5", "0.0", "%", "(0.0", "to", "60.6)", "–", "0.0", "%"]
    assert lines[3].startswith("kind 3 ")
    assert not [line for line in lines if "nan" in line or "kind 13" in line]
