"""Stopping where nothing gets better, the epoch that is kept, and overfitting to the step of the training."""

from dataclasses import replace

import pytest
from tests.training.bars import RECIPE as STANDARD
from tests.training.bars import bars, same, small, training_images

from demur.errors import InputError
from demur.training import EpochRow, Quiet, fresh, learn, train
from demur.training.adversarial import NFGSM
from demur.training.catastrophic_overfitting import overfitting
from demur.training.checkpoints import Checkpoints
from demur.training.learning_curve import TrainLossAlone
from demur.training.stopping_rule import best_epoch, course, overdue

ROBUST = NFGSM(epochs=8, batch=32, learning_rate=0.05, eps=0.05, averaging=0.0, patience=2)


def rows(robust, one_step=None, attacked=500, accuracy=None):
    steps = one_step or [None] * len(robust)
    return tuple(
        EpochRow(epoch=at, train_loss=1.0, attacked=attacked, robust_accuracy=many, one_step_accuracy=one,
                 held_out=900, accuracy=None if accuracy is None else accuracy[at - 1])
        for at, (many, one) in enumerate(zip(robust, steps, strict=True), start=1)
    )  # fmt: skip


class Told(TrainLossAlone):
    """A curve that is known before, and the networks it was asked about."""

    def __init__(self, found):
        self.found, self.states = found, []

    def row(self, epoch, train_loss, student):
        self.states.append({name: value.clone() for name, value in student.state_dict().items()})
        return self.found[epoch - 1]


class Killed(BaseException):
    """Stands in for kill -9."""


class Fuse(Quiet):
    def __init__(self, steps=-1):
        self.steps, self.epochs = steps, []

    def advance(self, rows, what):
        self.steps -= 1
        if not self.steps:
            raise Killed

    def epoch(self, found, classes):
        self.epochs.append(found.epoch)


ROSE_AND_FELL = [0.1, 0.3, 0.3, 0.25, 0.9, 0.9, 0.9, 0.9]


def test_the_training_ends_when_nothing_was_better_for_long_enough_and_keeps_the_best():
    curve, fuse = Told(rows(ROSE_AND_FELL)), Fuse()
    state = learn(ROBUST, fresh(small, 0), training_images(), 3, curve=curve, progress=fuse)
    assert fuse.epochs == [1, 2, 3, 4]
    assert same(state, curve.states[1])
    never = Fuse()
    learn(
        replace(ROBUST, patience=0), fresh(small, 0), training_images(), 3, curve=Told(rows([0.3] * 8)), progress=never
    )
    assert never.epochs == list(range(1, 9))


@pytest.mark.parametrize("steps", [3, 7, 8])
def test_killed_it_stops_at_the_same_epoch_with_the_same_bits_and_then_stays_there(steps, tmp_path):
    def trained(fuse, **given):
        curve = Told(rows(ROSE_AND_FELL))
        return learn(ROBUST, fresh(small, 0), training_images(), 3, curve=curve, progress=fuse, **given)

    whole, kept = trained(Fuse()), Checkpoints(tmp_path)
    with pytest.raises(Killed):
        trained(Fuse(steps), checkpoints=kept)
    again = Fuse()
    assert same(trained(again, checkpoints=kept), whole)
    assert again.epochs[-1] == 4
    last = Fuse(1)  # would raise in the first step
    assert same(trained(last, checkpoints=kept), whole)
    assert last.epochs == []


def test_recipes_without_an_attack_are_told_apart_by_accuracy_where_they_have_patience():
    plain = rows([None] * 4, accuracy=[0.5, 0.8, 0.7, 0.6])
    recipe = replace(STANDARD, patience=2)
    assert best_epoch(plain, recipe).epoch == 2
    assert overdue(plain, recipe)
    assert not overdue(plain[:3], recipe)
    assert best_epoch(plain, STANDARD) is None
    assert not overdue(plain, STANDARD)


def test_what_is_said_of_the_course():
    kept, end = course(rows(ROSE_AND_FELL[:4]), ROBUST)
    assert kept.startswith("Epoch 2 of 4 is kept, the best under attack: 30.0 % of 500 images set aside")
    assert end == "Stopped after epoch 4 of 8: none of the last 2 epochs was better."
    assert course(rows([None] * 3, accuracy=[0.5] * 3), STANDARD) == ()
    (plain,) = course(rows([None] * 3, accuracy=[0.5, 0.6, 0.4]), replace(STANDARD, patience=5))
    assert plain.startswith("Epoch 2 of 3 is kept, the best: 60.0 % of 900 images")


def test_overfitting_to_one_step_is_told_with_its_epoch():
    found = overfitting(rows([0.2, 0.3, 0.29, 0.02, 0.01], [0.3, 0.4, 0.4, 0.7, 0.9]))
    assert found.startswith(
        "Catastrophic overfitting in epoch 4: ten steps of an attack leave 2.0 % of 500 images right"
    )
    assert "after 30.0 % in epoch 2, and one step 70.0 %, after 40.0 %" in found


@pytest.mark.parametrize(
    ("robust", "one_step", "attacked"),
    [
        ([0.3, 0.16], [0.4, 0.9], 500),  # above half
        ([0.3, 0.02], [0.4, 0.39], 500),  # fell to one step too: the training has gone wrong in another way
        ([0.3, 0.1], [0.4, 0.9], 10),  # within what ten images can tell
        ([0.3, 0.02], [None, None], 500),  # a checkpoint of an earlier version
        ([None, None], [None, None], 0),
    ],
)
def test_other_falls_are_not_called_so(robust, one_step, attacked):
    assert overfitting(rows(robust, one_step, attacked)) == ""


def test_the_card_and_the_result_say_how_it_went(tmp_path):
    recipe = "n_fgsm(batch=32, epochs=6, learning_rate=0.0001, eps=0.02, patience=1)"
    done = train("compact_resnet(width=4)", bars(400), recipe=recipe, out=tmp_path)
    assert done.course[0].startswith("Epoch ")
    card = done.weights.with_suffix(".md").read_text()
    assert all(sentence in card for sentence in done.course)
    assert train("compact_resnet(width=4)", bars(400), recipe=recipe, out=tmp_path).course == done.course


def test_patience_needs_images_to_compare_epochs_on(tmp_path):
    with pytest.raises(InputError, match=r"`patience` compares epochs on images set aside"):
        train("compact_resnet(width=4)", bars(12), recipe="standard(epochs=1, patience=1)", out=tmp_path)
    with pytest.raises(InputError, match="`patience` of a recipe must be at least 0; got -1"):
        NFGSM(patience=-1)
