"""Training in several processes: one that torchrun starts on this machine, killed and resumed, and what is refused."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tests.training.bars import bars, same, small, training_images

from demur.errors import InputError, RunError
from demur.training import fresh, learn, train
from demur.training.adversarial import NFGSM
from demur.training.checkpoints import Checkpoints, open_training
from demur.training.learner import Learner
from demur.training.processes import Alone, Together, started_processes
from demur.training.recipe import Lesson

ROOT = Path(__file__).parents[2]
RECIPE = NFGSM(epochs=4, batch=16, learning_rate=0.05, shift=1, averaging=0.9, eps=0.05)
WORKER = """
import os, signal, sys
from pathlib import Path
from safetensors.torch import save_file
from tests.training.bars import small, training_images
from tests.training.test_processes import RECIPE
from demur.training import Quiet, fresh, learn
from demur.training.checkpoints import Checkpoints
from demur.training.processes import started_processes

class Fuse(Quiet):
    steps = 0
    def advance(self, rows, what):
        self.steps += 1
        if self.steps == fuse:
            os.kill(os.getpid(), signal.SIGKILL)

out, fuse = Path(sys.argv[1]), int(sys.argv[2])
with started_processes(2) as processes:
    state = learn(RECIPE, fresh(small, 0), training_images(), 3, progress=Fuse(), checkpoints=Checkpoints(out / "kept"),
                  processes=processes)
    save_file(state, out / f"{processes.count}-{processes.accelerator.process_index}.safetensors")
tasks = Path("/proc/self/task")
print(*[name for name in (task.joinpath("comm").read_text() for task in tasks.glob("*")) if "gloo" in name])
"""

DISTILLED = "distilled(temperature=5, epochs=4, batch=16, learning_rate=0.5, shift=1, mirror=False)"
STUDENT = """
import os, signal, sys
from pathlib import Path
from tests.training.bars import bars
from tests.training.test_processes import DISTILLED
from demur.training import Quiet, train
from demur.training.processes import started_processes

class Fuse(Quiet):
    steps = 0
    def advance(self, rows, what):
        self.steps += 1
        if self.steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

with started_processes(2) as processes:
    result = train("compact_resnet", bars(400), recipe=DISTILLED, out=Path(sys.argv[1]), progress=Fuse(),
                   processes=processes)
    print(processes.count, result.scores.accuracy.value)
"""


def launched(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False, timeout=300
    )


def trained(folder, fuse):
    (folder / "worker.py").write_text(WORKER)
    return launched(folder / "worker.py", folder, fuse)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("whole")
    answer = trained(folder, 0)
    assert answer.returncode == 0, answer.stderr
    assert not answer.stdout.split(), "threads that outlive the training abort the process as it ends"
    return [load_file(folder / f"2-{rank}.safetensors") for rank in (0, 1)]


def right(state):
    module = fresh(small, 0)
    module.load_state_dict(state)
    rows = list(bars(400).read(range(200, 400)))
    predicted = module.eval()(torch.stack([row.image for row in rows])).argmax(dim=1)
    return (predicted == torch.tensor([row.label for row in rows])).float().mean().item()


def test_two_processes_come_to_the_same_weights_and_to_the_accuracy_of_one(whole):
    assert same(*whole)
    one = learn(RECIPE, fresh(small, 0), training_images(), 3)
    assert not same(whole[0], one)
    assert right(one) > 0.9
    assert right(whole[0]) == pytest.approx(right(one), abs=0.06)


@pytest.mark.slow
def test_killed_and_started_again_two_processes_come_to_the_same_bytes(whole, tmp_path):
    assert trained(tmp_path, 10).returncode != 0
    assert not list(tmp_path.glob("2-*"))
    assert trained(tmp_path, 0).returncode == 0
    assert all(same(load_file(tmp_path / f"2-{rank}.safetensors"), whole[0]) for rank in (0, 1))


def distilled(folder, fuse=0):
    (folder / "worker.py").write_text(STUDENT)
    return launched(folder / "worker.py", folder / "net", fuse)


@pytest.mark.slow
def test_two_processes_distil_a_teacher_of_theirs_and_go_on_from_a_kill_in_either_training(tmp_path):
    """An epoch has 15 steps and each training four epochs; what is killed goes on from the last whole one."""
    pytest.importorskip("accelerate")
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    answer = distilled(tmp_path / "whole")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split()[0::2] == ["2", "2"]
    alone = train("compact_resnet", bars(400), recipe=DISTILLED, out=tmp_path / "alone")
    both = [float(value) for value in answer.stdout.split()[1::2]]
    assert alone.scores.accuracy.value > 0.9
    assert both == pytest.approx([alone.scores.accuracy.value] * 2, abs=0.06)
    for fuse in (40, 50):  # in the third epoch of the teacher, then in the second of the student
        assert distilled(tmp_path / "killed", fuse).returncode != 0
    assert (tmp_path / "killed" / "net" / "checkpoint" / "checkpoint.json").exists()
    assert distilled(tmp_path / "killed").returncode == 0
    weights = [load_file(tmp_path / name / "net" / "model.safetensors") for name in ("whole", "killed")]
    assert same(*weights)
    assert not same(weights[0], load_file(alone.weights))


def gathered(rank, count=2):
    """One of two processes as the library would show it; a mean that it exchanges comes out higher by one."""
    return Together(
        SimpleNamespace(
            process_index=rank,
            num_processes=count,
            is_main_process=rank == 0,
            device=torch.device("cpu"),
            reduce=lambda tensor, reduction: {"mean": tensor + 1}[reduction],
        )
    )


def lesson(rows=8, seed=0):
    images = torch.rand(rows, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    return Lesson(images, torch.arange(rows) % 2, torch.tensor([4, 4]), torch.Generator().manual_seed(seed), done=0.25)


def test_slices_make_up_the_batch_and_the_common_dice_stay_common():
    with torch.random.fork_rng(devices=[]):
        whole = [lesson() for _ in range(2)]
        parts = [gathered(rank).share(one) for rank, one in enumerate(whole)]
        streams = []
        for rank in range(2):
            gathered(rank).share(lesson())
            streams.append(torch.rand(3))
    assert torch.equal(torch.cat([part.images for part in parts]), whole[0].images)
    assert torch.equal(torch.cat([part.labels for part in parts]), whole[0].labels)
    assert [part.done for part in parts] == [0.25, 0.25]
    assert torch.equal(whole[0].dice.get_state(), whole[1].dice.get_state())
    assert not torch.equal(whole[0].dice.get_state(), lesson().dice.get_state())
    assert not torch.equal(parts[0].seeds, parts[1].seeds)
    assert not torch.equal(*streams)


def test_one_process_under_torchrun_draws_as_one_without():
    one, dice = gathered(0, count=1).share(lesson()), lesson().dice
    assert torch.equal(torch.rand(4, generator=one.dice), torch.rand(4, generator=dice))
    assert torch.equal(one.images, lesson().images)


def test_tensors_of_any_shape_are_averaged_in_place():
    tensors = [torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last), torch.arange(3.0), torch.tensor(7.0)]
    gathered(1).average(tensors)
    assert torch.equal(tensors[0], torch.ones(2, 3, 4, 4))
    assert torch.equal(tensors[1], torch.arange(3.0) + 1)
    assert tensors[2].item() == 8


def test_steps_that_cannot_be_shared_out_evenly_are_refused():
    with pytest.raises(InputError, match=r"from 5 images, which 2 processes cannot share out evenly. Give a --batch"):
        learn(replace(RECIPE, batch=5), fresh(small, 0), training_images(), processes=gathered(0))
    with pytest.raises(InputError, match="from 3 images"):
        learn(RECIPE, fresh(small, 0), training_images(3), processes=gathered(0))


def test_another_number_of_processes_than_asked_for_is_refused(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with (
        pytest.raises(InputError, match=r"--processes 2 is not what runs: this training has 1. Start it with torchrun"),
        started_processes(2),
    ):
        pass
    with started_processes(1) as alone:
        assert isinstance(alone, Alone)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="this training has 4"), started_processes(2):
        pass


def test_without_accelerate_torchrun_hears_how_to_get_it(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(InputError, match=r"pip install 'demur\[train\]'"), started_processes():
        pass


def test_processes_that_did_not_find_each_other_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    ended = []
    accelerator = SimpleNamespace(num_processes=1, end_training=lambda: ended.append(1))
    monkeypatch.setattr("demur.training.processes._accelerator", lambda: accelerator)
    with pytest.raises(RunError, match="torchrun started 2 processes, and 1 found each other"), started_processes():
        pass
    assert ended == [1]


def test_processes_with_other_weights_are_refused(monkeypatch):
    state = {"a": torch.ones(2), "b": torch.zeros(2)}
    monkeypatch.setattr(Together, "find", lambda self, what: {"a": torch.ones(2), "b": torch.tensor([0.0, 1e-7])})
    with pytest.raises(RunError, match="different weights after epoch 1, first 'b'"):
        gathered(1).agree(state, "epoch 1")


def test_a_folder_of_two_processes_is_not_continued_by_one(tmp_path):
    with open_training(tmp_path, {"seed": "0", "processes": "2"}, restart=False):
        pass
    with (
        pytest.raises(RunError, match="processes: 2 before, – now"),
        open_training(tmp_path, {"seed": "0"}, restart=False),
    ):
        pass


def test_only_the_first_process_keeps_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr(Together, "find", lambda self, what: what())
    monkeypatch.setattr(Together, "agree", lambda self, state, where: None)
    monkeypatch.setattr(Together, "precision", Alone.precision)
    for rank in (1, 0):
        assert not list(tmp_path.iterdir())
        learn(replace(RECIPE, epochs=1), fresh(small, 0), training_images(), checkpoints=Checkpoints(tmp_path),
              processes=gathered(rank))  # fmt: skip
    assert (tmp_path / "checkpoint.json").exists()


def test_gradients_are_averaged_before_the_step():
    learner = Learner.of(fresh(small, 0), replace(RECIPE, averaging=0.0))
    before = {name: value.clone() for name, value in learner.student.named_parameters()}
    loss = sum(value.sum() for value in learner.student.parameters())

    def nothing(gradients):
        for gradient in gradients:
            gradient.zero_()

    learner.step(loss, {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False}, nothing)
    assert same(before, dict(learner.student.named_parameters()))


@pytest.mark.slow
def test_the_command_trains_in_two_processes_and_says_so(tmp_path):
    pytest.importorskip("accelerate")
    command = ["-m", "demur", "train", "compact_resnet", "digits", "--set", "mirror=False", "--epochs", "2"]
    answer = launched(*command, "--batch", "256", "--processes", "2", "--out", tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[0] == "Learned from 1,092 images in 2 processes."
    assert answer.stdout.count("Next: demur audit") == 1
    assert "learning in 2 processes" in answer.stderr
    assert "1 thread(s) in each of 2 processes" in (tmp_path / "model.md").read_text()
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 3
