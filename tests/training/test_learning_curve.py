import csv
import json
import math

import pytest
import torch
from tests.training.bars import RECIPE, Told, bars, same, small, training_images
from torch import nn

from demur.data import build_index
from demur.training import fresh, learn, train
from demur.training.checkpoints import Checkpoints
from demur.training.learning_curve import CURVE, FIGURE, LearningCurve, _f1

RECIPE_NAME = "standard(batch=32, epochs=3, learning_rate=0.05, shift=1)"


class Killed(BaseException):
    """Stands in for kill -9."""


class Stop:
    """Progress that stops everything after so many steps."""

    def __init__(self, steps):
        self.steps, self.epochs = steps, []

    def start(self, rows):
        pass

    def advance(self, rows, what):
        self.steps -= 1
        if not self.steps:
            raise Killed

    def say(self, what):
        pass

    def epoch(self, found, classes):
        self.epochs.append(found.epoch)


def trained(out, source=None, steps=-1, **given):
    stop = Stop(steps)
    return train("compact_resnet", source or bars(400), recipe=RECIPE_NAME, out=out, progress=stop, **given), stop


def table(folder):
    return list(csv.DictReader((folder / CURVE).read_text().splitlines()))


def curve(folder, rows=200):
    source = bars(rows)
    index = build_index(source)
    return LearningCurve(source, index, index.rows_of("tune"), folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, trained(folder)[0]


def test_there_is_a_line_for_each_epoch_and_the_last_says_what_the_card_does(whole):
    folder, done = whole
    lines = table(folder)
    assert [line["epoch"] for line in lines] == ["1", "2", "3"]
    assert list(lines[0]) == [
        "epoch", "train_loss", "held_out_images", "held_out_loss", "accuracy", "f1 top", "f1 bottom"
    ]  # fmt: skip
    assert {line["held_out_images"] for line in lines} == {str(done.scores.accuracy.n)}
    assert float(lines[-1]["accuracy"]) == done.scores.accuracy.value
    for one in done.scores.classes:
        assert float(lines[-1][f"f1 {one.name}"]) == pytest.approx(one.f1.value)
    assert f"`{CURVE}`" in done.weights.with_suffix(".md").read_text()
    assert f"`{FIGURE}`" in done.weights.with_suffix(".md").read_text()


def test_what_is_measured_is_of_the_network_in_evaluation_mode_on_plain_images(tmp_path):
    own, network = curve(tmp_path), fresh(small, 3).train()
    found = own.row(4, 0.5, network)
    network.eval()
    rows = list(own.source.read(own.index.positions[own.rows].tolist()))
    labels = [row.label for row in rows]
    logits = network(torch.stack([row.image for row in rows])).detach().double()
    losses = [math.log(sum(map(math.exp, z))) - z[label] for z, label in zip(logits.tolist(), labels, strict=True)]
    assert found.held_out_loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    right = [k == label for k, label in zip(logits.argmax(dim=1).tolist(), labels, strict=True)]
    assert found.accuracy == pytest.approx(sum(right) / len(rows))
    assert (found.epoch, found.train_loss, found.held_out) == (4, 0.5, len(rows))


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    called, true = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 1, 0]]).bool().numpy()
    precision, recall = 1 / 3, 1 / 2
    assert _f1(called, true) == pytest.approx(2 * precision * recall / (precision + recall))
    assert _f1(called & ~called, true & ~true) is None
    assert _f1(called, true & ~true) == 0


class Restless(nn.Module):
    """Draws from the global stream in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.inner = small()

    def forward(self, x):
        torch.rand(1)
        return self.inner(x)


@pytest.mark.parametrize("network", [small, Restless])
def test_measuring_moves_no_weight(network, tmp_path):
    plain = learn(RECIPE, fresh(network, 0), training_images(), 3)
    assert same(plain, learn(RECIPE, fresh(network, 0), training_images(), 3, curve=curve(tmp_path)))
    assert len(table(tmp_path)) == RECIPE.epochs


def steps_of(done):
    return done.learned // 32


@pytest.mark.parametrize("step", [1, "last of the first", "first of the second", "last of all"])
def test_a_killed_training_repeats_no_epoch_and_loses_none(step, whole, tmp_path):
    each = steps_of(whole[1])
    at = {1: 1, "last of the first": each, "first of the second": each + 1, "last of all": 3 * each}[step]
    with pytest.raises(Killed):
        trained(tmp_path, steps=at)
    assert [line["epoch"] for line in table(tmp_path)] == ["1", "2", "3"][: (at - 1) // each]
    _, stop = trained(tmp_path)
    assert stop.epochs == [1, 2, 3][(at - 1) // each :]
    assert (tmp_path / CURVE).read_bytes() == (whole[0] / CURVE).read_bytes()


@pytest.mark.parametrize("epoch", [1, 3])
def test_killed_between_checkpoint_and_curve_the_line_comes_with_the_next_start(epoch, whole, tmp_path, monkeypatch):
    write = LearningCurve.write

    def cut(self, rows):
        if len(rows) == epoch:
            raise Killed
        write(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(LearningCurve, "write", cut)
        with pytest.raises(Killed):
            trained(tmp_path)
    assert len(table(tmp_path)) == epoch - 1
    trained(tmp_path)
    assert (tmp_path / CURVE).read_bytes() == (whole[0] / CURVE).read_bytes()


def test_a_checkpoint_of_an_earlier_version_goes_on_without_its_curve(whole, tmp_path):
    with pytest.raises(Killed):
        trained(tmp_path, steps=steps_of(whole[1]) + 1)
    note = tmp_path / "checkpoint" / "checkpoint.json"
    note.write_text(json.dumps({key: value for key, value in json.loads(note.read_text()).items() if key != "curve"}))
    trained(tmp_path)
    assert table(tmp_path) == table(whole[0])[1:]


def test_a_finished_training_keeps_its_figure_and_another_one_does_not(tmp_path):
    trained(tmp_path)
    (tmp_path / FIGURE).write_text("drawn")
    before = (tmp_path / CURVE).read_bytes()
    trained(tmp_path)
    assert (tmp_path / FIGURE).exists()
    assert (tmp_path / CURVE).read_bytes() == before
    with pytest.raises(Killed):
        trained(tmp_path, steps=1, seed=1, restart=True)
    assert not (tmp_path / FIGURE).exists()
    assert table(tmp_path) == []


def test_without_images_to_look_at_only_the_training_loss_is_there(tmp_path):
    source = Told(bars(40), ["train"] * 32 + ["certify"] * 4 + ["test"] * 4)
    trained(tmp_path, source)
    line = table(tmp_path)[-1]
    assert float(line["train_loss"]) > 0
    assert line["held_out_images"] == "0"
    assert {line[name] for name in ("held_out_loss", "accuracy", "f1 top", "f1 bottom")} == {""}


def test_a_checkpoint_keeps_numbers_to_the_last_bit(tmp_path):
    learn(RECIPE, fresh(small, 0), training_images(), 3, curve=curve(tmp_path), checkpoints=Checkpoints(tmp_path / "c"))
    before = (tmp_path / CURVE).read_bytes()
    (tmp_path / CURVE).unlink()
    learn(RECIPE, fresh(small, 0), training_images(), 3, curve=curve(tmp_path), checkpoints=Checkpoints(tmp_path / "c"))
    assert (tmp_path / CURVE).read_bytes() == before
