"""The recipe ibp against its formula, written out slowly; what it refuses; and that it makes proofs hold."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.bars import bars, same, training_images
from torch import nn
from torch.nn import functional

from demur.classifier import BoundClassifier
from demur.data import build_index
from demur.errors import InputError
from demur.proofs import bounds
from demur.training import EpochRow, Standard, fresh, learn, train
from demur.training.catastrophic_overfitting import overfitting
from demur.training.checkpoints import Checkpoints
from demur.training.learning_curve import CURVE, LearningCurve
from demur.training.recipe import Lesson
from demur.training.stopping_rule import course, epoch_score, overdue
from demur.training.verifiable import IBP

IMAGES = 0.1 + 0.8 * torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3


def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def normed():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3)
    )


def small():
    """Of two layers, for bars."""
    return nn.Sequential(nn.Conv2d(1, 4, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def lesson(done=1.0):
    return Lesson(IMAGES, LABELS, torch.bincount(LABELS), torch.Generator().manual_seed(1), done=done)


def slow_loss(net, eps, kappa):
    """Positive and negative weights apart, neuron by neuron of the last difference; the label's entry is 0."""
    _, first, _, last = net
    low, high = (IMAGES - eps).clamp(0, 1).flatten(1), (IMAGES + eps).clamp(0, 1).flatten(1)
    up, down = first.weight.clamp(min=0), first.weight.clamp(max=0)
    low, high = (low @ up.T + high @ down.T + first.bias).relu(), (high @ up.T + low @ down.T + first.bias).relu()
    worst = []
    for row, label in enumerate(LABELS.tolist()):
        entries = []
        for k in range(3):
            d = last.weight[k] - last.weight[label]
            most = d.clamp(min=0) @ high[row] + d.clamp(max=0) @ low[row] + last.bias[k] - last.bias[label]
            entries.append(torch.zeros(()) if k == label else most)
        worst.append(torch.stack(entries))
    clean, hard = functional.cross_entropy(net(IMAGES), LABELS), functional.cross_entropy(torch.stack(worst), LABELS)
    return kappa * clean + (1 - kappa) * hard


@pytest.mark.parametrize(
    ("done", "eps", "kappa"), [(0.1, 0.0, 1.0), (0.2, 0.0, 1.0), (0.4, 0.05, 0.65), (0.6, 0.1, 0.3), (1.0, 0.1, 0.3)]
)
def test_the_loss_and_its_gradient_are_the_formula_at_every_point_of_the_ramp(done, eps, kappa):
    recipe = IBP(eps=0.1, kappa=0.3, warm_up=0.2, ramp=0.4)
    nets = [fresh(plain, 0).train() for _ in range(2)]
    found, wanted = recipe.loss(nets[0], lesson(done)), slow_loss(nets[1], eps, kappa)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    found.backward()
    wanted.backward()
    for mine, slow in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(mine.grad, slow.grad, rtol=1e-4, atol=1e-6)


def test_without_a_ramp_it_is_all_there_after_the_warm_up():
    recipe = IBP(warm_up=0.5, ramp=0.0)
    assert [recipe.risen(done) for done in (0.0, 0.5, 0.51, 1.0)] == [0, 0, 1, 1]


def test_bounds_are_of_the_network_in_evaluation_mode_and_move_no_statistics():
    """The images as they are move running statistics once; the mode is as it was, frozen layers too."""
    net, other = (fresh(normed, 0).train() for _ in range(2))
    net[1].eval()
    other[1].eval()
    recipe = IBP(eps=0.05, kappa=0.0, warm_up=0.0, ramp=0.0)
    first, again = (recipe.loss(net, lesson()).item() for _ in range(2))
    assert first == again  # dropout would draw anew
    assert (net.training, net[1].training, net[3].training) == (True, False, True)
    model = BoundClassifier(other.eval(), classes=("a", "b", "c"), input_shape=(1, 4, 4))
    worst = (-bounds(model, IMAGES, LABELS, 0.05).label_leads).scatter(1, LABELS[:, None], 0.0)
    assert first == pytest.approx(functional.cross_entropy(worst, LABELS).item(), abs=1e-3)
    learning = fresh(normed, 0).train()
    recipe.loss(learning, lesson())
    assert learning[1].num_batches_tracked == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"eps": 8.0}, "8/255"),
        ({"kappa": 1.5}, r"`kappa` must lie in \[0, 1\]; got 1.5"),
        ({"warm_up": -0.1}, "`warm_up` must lie"),
        ({"warm_up": 0.6, "ramp": 0.5}, "together more than 1"),
    ],
)
def test_what_cannot_be_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        IBP(**given)


class Unread:
    """A source whose images must not be read."""

    def __init__(self):
        self.address, self.classes, self.input_shape = "unread", ("top", "bottom"), (1, 8, 8)

    def __len__(self):
        return 64

    def read(self, positions):
        raise AssertionError("the images were read")


def test_a_layer_without_a_bound_is_named_before_any_image_is_read(tmp_path, monkeypatch):
    text = "from torch import nn\ndef gelu(channels=1, classes=2):\n"
    text += "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, classes))\n"
    Path(tmp_path / "unbounded.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"no bound is known for: the operation gelu.*verifiable_cnn.*pgd_at"):
        train("module:unbounded:gelu", Unread(), recipe="ibp", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


RECIPE = IBP(epochs=6, batch=16, eps=0.1, mirror=False, learning_rate=0.1, averaging=0.5, warm_up=0.2, ramp=0.4)


@pytest.fixture(scope="module")
def uninterrupted():
    return learn(RECIPE, fresh(small, 0), training_images(), 3)


class Killed(BaseException):
    """Stands in for kill -9."""


class Fuse:
    """Progress that stops everything after so many steps."""

    def __init__(self, steps):
        self.steps = steps

    def start(self, rows):
        pass

    def advance(self, rows, what):
        self.steps -= 1
        if not self.steps:
            raise Killed

    def say(self, what):
        pass

    def epoch(self, found, classes):
        pass


@pytest.mark.parametrize("steps", [5, 10, 17])
def test_killed_in_warm_up_or_ramp_it_comes_to_the_same_bits(steps, uninterrupted, tmp_path):
    with pytest.raises(Killed):
        learn(RECIPE, fresh(small, 0), training_images(), 3, progress=Fuse(steps), checkpoints=Checkpoints(tmp_path))
    assert same(learn(RECIPE, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path)), uninterrupted)


class Noting(IBP):
    """What every step is told of how far the training has come."""

    def loss(self, student, lesson):
        NOTED.append(lesson.done)
        return super().loss(student, lesson)


NOTED = []


def test_every_step_is_told_how_much_is_done_also_after_a_kill(tmp_path):
    NOTED.clear()
    recipe = Noting(epochs=3, batch=16, eps=0.1, mirror=False)
    with pytest.raises(Killed):
        learn(recipe, fresh(small, 0), training_images(), 3, progress=Fuse(6), checkpoints=Checkpoints(tmp_path))
    learn(recipe, fresh(small, 0), training_images(), 3, checkpoints=Checkpoints(tmp_path))
    assert pytest.approx([k / 12 for k in (*range(6), *range(4, 12))]) == NOTED


def deep():
    """Of enough layers that bounds of an ordinary net say nothing."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))


def proven(net, state, eps):
    net.load_state_dict(state)
    model = BoundClassifier(net.eval(), classes=("top", "bottom"), input_shape=(1, 8, 8))
    rows = list(bars().read(range(64)))
    x, y = torch.stack([row.image for row in rows]), torch.tensor([row.label for row in rows])
    return bounds(model, x, y, eps).right.float().mean().item()


def test_it_makes_proofs_hold_where_standard_training_does_not():
    """The bars differ by .7 under noise of up to .3, so at .2 they are still apart."""
    fields = {"epochs": 6, "batch": 16, "mirror": False, "learning_rate": 0.1}
    ordinary = learn(Standard(shift=0, **fields), fresh(deep, 0), training_images(), 3)
    verifiable = learn(IBP(eps=0.2, warm_up=0.2, ramp=0.4, **fields), fresh(deep, 0), training_images(), 3)
    assert proven(deep(), ordinary, 0.2) < 0.1
    assert proven(deep(), verifiable, 0.2) > 0.9


def test_the_curve_has_what_is_proven_of_the_images_it_attacks(tmp_path):
    source = bars(200)
    index = build_index(source)
    rows = index.rows_of("tune")
    curve = LearningCurve(source, index, rows, tmp_path, eps=0.05, proves=True)
    net = fresh(small, 0).train()
    net.load_state_dict(learn(replace(RECIPE, epochs=2), net, training_images(), 3))
    row = curve.row(1, 0.5, net)
    assert net.training
    model = BoundClassifier(net.eval(), classes=("top", "bottom"), input_shape=(1, 8, 8))
    read = list(source.read(index.positions[rows].tolist()))
    x, y = torch.stack([each.image for each in read]), torch.tensor([each.label for each in read])
    assert row.proven_accuracy == pytest.approx(bounds(model, x, y, 0.05).right.float().mean().item())
    assert 0 < row.proven_accuracy <= row.robust_accuracy
    curve.write([row])
    head, line = (tmp_path / CURVE).read_text().splitlines()
    assert head.split(",")[5:9] == ["attacked_images", "robust_accuracy", "one_step_accuracy", "proven_accuracy"]
    assert float(line.split(",")[8]) == row.proven_accuracy


def test_a_training_tells_what_it_proves_and_keeps_the_most_proven_epoch(tmp_path):
    recipe = "ibp(batch=32, epochs=3, eps=0.05, mirror=False, warm_up=0.3, ramp=0.3)"
    done = train("verifiable_cnn(width=4, hidden=8)", bars(300), recipe=recipe, out=tmp_path / "out")
    lines = (tmp_path / "out" / CURVE).read_text().splitlines()
    best = max(float(line.split(",")[8]) for line in lines[1:])
    assert f"is kept, the most proven: {100 * best:.1f} % of" in done.course[0]


def rows_of(robust, proven):
    pairs = enumerate(zip(robust, proven, strict=True), start=1)
    return tuple(
        EpochRow(
            epoch=at, train_loss=1.0, attacked=500, robust_accuracy=many, one_step_accuracy=0.9, proven_accuracy=one
        )
        for at, (many, one) in pairs
    )


def test_epochs_are_told_apart_by_what_is_proven_and_waited_for_after_the_ramp():
    recipe = IBP(epochs=10, patience=2, warm_up=0.2, ramp=0.4)
    rising = rows_of([0.9] * 6, [0.0] * 6)
    assert epoch_score(rising[0], recipe) == 0.0
    assert not overdue(rising, recipe)  # the sixth epoch ends the ramp
    assert not overdue(rows_of([0.9] * 7, [0.0] * 7), recipe)
    assert overdue(rows_of([0.9] * 8, [0.0] * 8), recipe)
    assert not overdue(rows_of([0.9] * 9, [0.0] * 7 + [0.1, 0.1]), recipe)
    assert (
        "Epoch 8 of 9 is kept, the most proven: 10.0 % of 500"
        in course(rows_of([0.9] * 9, [0.0] * 7 + [0.1, 0.1]), recipe)[0]
    )


def test_a_fall_before_the_ramp_is_no_overfitting_to_a_step():
    assert not overfitting(rows_of([0.6, 0.1], [0.0, 0.0]))
    told = [row.__class__(**{**row.__dict__, "proven_accuracy": None}) for row in rows_of([0.6, 0.1], [0.0, 0.0])]
    assert overfitting(told)
