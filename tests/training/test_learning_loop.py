from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import pytest
import torch
from tests.training.bars import RECIPE, bars, same, small, training_images

from demur.errors import RunError
from demur.training import Standard, fresh, learn
from demur.training.adversarial import NFGSM, TRADES, PGDTraining
from demur.training.checkpoints import Checkpoints
from demur.training.learning_curve import EpochRow, TrainLossAlone
from demur.training.learning_loop import InputScaling
from demur.training.standard import GaussianNoise


class Killed(BaseException):
    """Stands in for kill -9 between two steps."""


@dataclass
class Fuse:
    """Progress that remembers, and stops everything after so many steps."""

    steps: int = 10**9

    def start(self, rows):
        self.rows, self.told = rows, []

    def advance(self, rows, what):
        self.told.append((rows, what))
        if len(self.told) == self.steps:
            raise Killed

    def say(self, what):
        self.said = what

    def epoch(self, found, classes):
        self.epochs = [*getattr(self, "epochs", ()), found]


def test_a_seed_fixes_the_weights():
    first = learn(RECIPE, fresh(small, 1), training_images(), 7)
    torch.rand(3)  # moves the global stream
    assert same(first, learn(RECIPE, fresh(small, 1), training_images(), 7))
    assert not same(first, learn(RECIPE, fresh(small, 1), training_images(), 8))
    assert not same(first, learn(RECIPE, fresh(small, 2), training_images(), 7))


def test_the_global_stream_and_the_module_are_left_alone():
    state = torch.random.get_rng_state()
    module = fresh(small, 0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    learn(RECIPE, module, training_images())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same(before, module.state_dict())


def test_the_loss_falls_and_progress_counts():
    fuse, module = Fuse(), fresh(small, 0)
    state = learn(RECIPE, module, training_images(), progress=fuse)
    assert fuse.rows == sum(rows for rows, _ in fuse.told) == 8 * 64
    first, last = (float(fuse.told[k][1].rpartition(" ")[2]) for k in (0, -1))
    assert last < 0.2 < first
    assert fuse.told[-1][1].startswith("epoch 8 of 8, loss")
    means = [fmean(float(what.rpartition(" ")[2]) for _, what in fuse.told[k : k + 4]) for k in range(0, 32, 4)]
    assert [row.epoch for row in fuse.epochs] == list(range(1, 9))
    assert [row.train_loss for row in fuse.epochs] == pytest.approx(means, abs=1e-3)
    assert all(row.accuracy is None for row in fuse.epochs)
    module.load_state_dict(state)
    rows = list(bars().read(range(64)))
    predicted = module.eval()(torch.stack([row.image for row in rows])).argmax(dim=1)
    assert predicted.tolist() == [row.label for row in rows]


def test_one_batch_is_enough():
    assert learn(Standard(epochs=1, batch=128), fresh(small, 0), training_images(4))


SHORT = replace(RECIPE, epochs=4)


@pytest.fixture(scope="module")
def uninterrupted():
    return learn(SHORT, fresh(small, 0), training_images(), 3)


@pytest.mark.parametrize("steps", [1, 4, 5, 15, 16])
def test_a_killed_training_comes_to_the_same_bits(steps, uninterrupted, tmp_path):
    with pytest.raises(Killed):
        learn(SHORT, fresh(small, 0), training_images(), 3, progress=Fuse(steps), checkpoints=Checkpoints(tmp_path))
    fuse = Fuse()
    state = learn(SHORT, fresh(small, 0), training_images(), 3, progress=fuse, checkpoints=Checkpoints(tmp_path))
    assert same(state, uninterrupted)
    assert len(fuse.told) == 16 - (steps - 1) // 4 * 4
    assert ("continued after epoch" in fuse.said) == (steps > 4)


def test_killed_again_and_again(uninterrupted, tmp_path):
    for steps in (6, 3, 5):
        with pytest.raises(Killed):
            learn(SHORT, fresh(small, 0), training_images(), 3, progress=Fuse(steps), checkpoints=Checkpoints(tmp_path))
    assert same(learn(SHORT, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path)), uninterrupted)


def test_a_finished_training_is_not_repeated(uninterrupted, tmp_path):
    learn(SHORT, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path))
    again = learn(SHORT, fresh(small, 0), training_images(), 3, progress=Fuse(1), checkpoints=Checkpoints(tmp_path))
    assert same(again, uninterrupted)


def test_only_the_last_epoch_is_kept_and_nothing_else(tmp_path):
    (tmp_path / ".epoch-0001.safetensors.torn").write_bytes(b"half")
    learn(SHORT, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.json", "epoch-0004.safetensors"]


@pytest.mark.parametrize(("harm", "says"), [(lambda path: path.unlink(), "missing"), (None, "damaged")])
def test_a_damaged_checkpoint_is_refused(harm, says, tmp_path):
    learn(SHORT, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path))
    path = tmp_path / "epoch-0004.safetensors"
    harm(path) if harm else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=f"{says}. Start over with --restart"):
        learn(SHORT, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path))


class Adam(Standard):
    """Another optimizer, with memories of other shapes."""

    def optimizer(self, parameters):
        return torch.optim.AdamW(parameters)

    def pace(self, done, total):
        return {"lr": 0.01}


def test_any_optimizer_is_remembered(tmp_path):
    recipe = Adam(epochs=4, batch=16)
    whole = learn(recipe, fresh(small, 0), training_images(), 3)
    with pytest.raises(Killed):
        learn(recipe, fresh(small, 0), training_images(), 3, progress=Fuse(7), checkpoints=Checkpoints(tmp_path))
    assert same(learn(recipe, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path)), whole)


class Exploding(Standard):
    """The loss is infinite in the third epoch."""

    def loss(self, student, lesson):
        loss = super().loss(student, lesson)
        seen = student[0].stem_norm.num_batches_tracked
        return loss * float("inf") if seen > 9 else loss


class Spoiling(Standard):
    """The last step of the third epoch leaves weights that are not finite, after a finite loss."""

    def pace(self, done, total):
        return {"lr": float("inf") if done == 11 else 0.01, "momentum": 0.9}


@pytest.mark.parametrize(
    ("kind", "says"), [(Exploding, "the loss is inf in epoch 3"), (Spoiling, "not finite in epoch 3")]
)
def test_a_diverged_training_stops_and_keeps_the_last_good_epoch(kind, says, tmp_path):
    with pytest.raises(RunError, match=says):
        learn(kind(epochs=8, batch=16), fresh(small, 0), training_images(), checkpoints=Checkpoints(tmp_path))
    assert (tmp_path / "epoch-0002.safetensors").exists()


def test_the_mean_of_weights_is_the_running_mean_of_every_step():
    """Step by step, slowly: the share of the old grows from a half towards `averaging`."""
    seen, images = [], training_images()

    class Watching(Standard):
        def pace(self, done, total):
            return {"lr": 0.05, "momentum": 0.0}

        def loss(self, student, lesson):
            seen.append({name: value.clone() for name, value in student.state_dict().items()})
            return Standard.loss(self, student, lesson)

    recipe = Watching(epochs=2, batch=16, averaging=0.8)
    found = learn(recipe, fresh(small, 0), images, 3)
    last = learn(Watching(epochs=2, batch=16), fresh(small, 0), images, 3)
    states = [*seen[: len(seen) // 2][1:], last]
    slow = seen[0]
    for step, state in enumerate(states, start=1):
        share = min(0.8, step / (step + 10))
        slow = {
            name: share * value + (1 - share) * state[name] if value.is_floating_point() else state[name]
            for name, value in slow.items()
        }
    for name, value in found.items():
        torch.testing.assert_close(value, slow[name], rtol=1e-4, atol=1e-6)


def test_a_killed_training_with_a_mean_and_a_best_epoch_comes_to_the_same_bytes(tmp_path):
    recipe = NFGSM(epochs=4, batch=16, averaging=0.9, eps=0.05)
    curve = lambda: Scored([0.2, 0.6, 0.4, 0.5])  # noqa: E731
    whole = learn(recipe, fresh(small, 0), training_images(), 3, curve=curve())
    with pytest.raises(Killed):
        learn(recipe, fresh(small, 0), training_images(), 3, progress=Fuse(9), checkpoints=Checkpoints(tmp_path),
              curve=curve())  # fmt: skip
    again = learn(recipe, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path), curve=curve())
    assert same(again, whole)


@pytest.mark.parametrize("made", [Standard, NFGSM, PGDTraining, TRADES, GaussianNoise], ids=lambda made: made.__name__)
def test_mixed_precision_learns_the_same_in_other_bits(made):
    task = {"epochs": 8, "batch": 16, "learning_rate": 0.05, "averaging": 0.5}
    task |= {name: value for name, value in (("eps", 0.05), ("steps", 2)) if name in made.__dataclass_fields__}
    (single, exact), (mixed, told), (again, _) = (
        trained(made(mixed_precision=mixed, **task)) for mixed in (False, True, True)
    )
    assert same(mixed, again)
    assert not same(mixed, single)
    assert {value.dtype for value in mixed.values()} <= {torch.float32, torch.int64}
    assert told[-1].train_loss < 0.7 * told[0].train_loss
    losses, others = ([row.train_loss for row in rows] for rows in (told, exact))
    assert losses == pytest.approx(others, rel=0.1, abs=0.25)  # of some steps on few images, which bits lead astray
    assert np.mean(losses) == pytest.approx(np.mean(others), abs=0.05)


def trained(recipe):
    fuse = Fuse()
    return learn(
        recipe, InputScaling(fresh(small, 0), (0.5,), (0.5,)), training_images(), 3, progress=fuse
    ), fuse.epochs


def test_a_killed_training_in_mixed_precision_comes_to_the_same_bits(tmp_path):
    recipe = NFGSM(epochs=3, batch=16, averaging=0.9, eps=0.05, mixed_precision=True)
    whole = learn(recipe, fresh(small, 0), training_images(), 3)
    with pytest.raises(Killed):
        learn(recipe, fresh(small, 0), training_images(), 3, progress=Fuse(9), checkpoints=Checkpoints(tmp_path))
    assert same(learn(recipe, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path)), whole)


def test_the_epoch_that_stands_attacks_best_is_kept():
    recipe = NFGSM(epochs=4, batch=16, eps=0.05)
    curve = Scored([0.2, 0.6, 0.4, 0.5])
    found = learn(recipe, fresh(small, 0), training_images(), 3, curve=curve)
    assert same(found, curve.states[1])
    assert not same(found, curve.states[3])


class Scored(TrainLossAlone):
    """Robust accuracies as told, and the networks they were told of."""

    def __init__(self, robust):
        self.robust, self.states = robust, {}

    def row(self, epoch, train_loss, student):
        self.states[epoch - 1] = {name: value.clone() for name, value in student.state_dict().items()}
        return EpochRow(epoch=epoch, train_loss=train_loss, attacked=10, robust_accuracy=self.robust[epoch - 1])
