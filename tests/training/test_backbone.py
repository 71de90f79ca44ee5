"""A network that starts from weights: what is frozen stays to the bit, then learns; a kill changes nothing."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.bars import bars, same, training_images
from tests.training.test_learning_loop import Fuse, Killed
from torch import nn

from demur.adapters import load_model
from demur.errors import InputError, ModelError
from demur.training import Standard, fresh, learn, train
from demur.training.adversarial import TRADES
from demur.training.backbone import Backbone, evaluating
from demur.training.checkpoints import Checkpoints

RECIPE = Standard(epochs=4, batch=16, learning_rate=0.05, shift=1, frozen=2)
HEAD = frozenset({"head.weight", "head.bias"})


class Small(nn.Module):
    """Everything that must hold still: weights, statistics of a batch normalisation, dropout."""

    def __init__(self, classes=2):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, classes)

    def forward(self, x):
        return self.head(self.drop(torch.relu(self.norm(self.conv(x))).mean(dim=(2, 3)) + 0 * x.sum()))


def below(state):
    return {name: value for name, value in state.items() if name not in HEAD}


def backbone(recipe=RECIPE):
    return Backbone(head=HEAD, epochs=recipe.frozen, rate=recipe.backbone_rate)


def learned(recipe=RECIPE, **given):
    return learn(recipe, fresh(Small, 0), training_images(), 3, backbone=backbone(recipe), **given)


@pytest.mark.parametrize("recipe", [RECIPE, TRADES(epochs=4, batch=16, steps=1, frozen=2, averaging=0.9)], ids=type)
def test_what_is_frozen_stays_to_the_bit_and_then_learns(recipe):
    start = fresh(Small, 0).state_dict()
    frozen, whole = learned(replace(recipe, epochs=2)), learned(recipe)
    assert same(below(frozen), below(start))
    assert not torch.equal(frozen["head.weight"], start["head.weight"])
    assert not any(torch.equal(value, start[name]) for name, value in below(whole).items())


def test_the_rest_learns_at_its_share_of_the_rate():
    """One step of SGD without momentum, from a frozen epoch that is as short: the gradient times the rate."""

    class Plain(Standard):
        def pace(self, done, total):
            return {"lr": 0.1, "momentum": 0.0}

        def optimizer(self, parameters):
            return torch.optim.SGD(parameters, 0.1)

    def moved(rate):
        recipe = Plain(epochs=2, batch=64, frozen=1, backbone_rate=rate, mirror=False, shift=0)
        module = fresh(Small, 0)
        module.drop.p = 0.0
        found = learn(recipe, module, training_images(), 3, backbone=backbone(recipe))
        return found["conv.weight"] - module.conv.weight.detach(), found["head.weight"]

    (slow, head), (fast, same_head) = moved(0.1), moved(1.0)
    torch.testing.assert_close(10 * slow, fast, rtol=1e-3, atol=1e-7)
    assert torch.equal(head, same_head)


def test_frozen_layers_get_no_gradient_and_drop_nothing():
    seen = []

    class Watching(Standard):
        def loss(self, student, lesson):
            seen.append([student.conv.weight.requires_grad, student.norm.training, student.drop.training])
            seen[-1].append(student.head.training)
            return Standard.loss(self, student, lesson)

    learned(Watching(epochs=2, batch=64, frozen=1))
    assert seen == [[False, False, False, True], [True, True, True, True]]


@pytest.mark.parametrize("steps", [2, 6, 8, 9, 14])
def test_a_kill_in_either_phase_comes_to_the_same_bits(steps, tmp_path):
    with pytest.raises(Killed):
        learned(progress=Fuse(steps), checkpoints=Checkpoints(tmp_path))
    assert same(learned(checkpoints=Checkpoints(tmp_path)), learned())


def test_evaluation_leaves_every_layer_in_its_mode():
    module = Small()
    module.norm.eval()
    with evaluating(module):
        assert not any(layer.training for layer in module.modules())
    assert [module.norm.training, module.conv.training, module.training] == [False, True, True]


NETS = """
from tests.training.test_backbone import Small
from torch import nn

def small(channels, classes):
    return Small(classes)

def flat(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Those of a network of seven classes."""
    (tmp_path / "startable.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "seven.safetensors"
    save_file(fresh(lambda: Small(7), 5).state_dict(), path)
    return path


def trained(architecture, out, recipe="standard(epochs=1, frozen=1, batch=32, learning_rate=0.05)", source=None):
    return train(architecture, source or bars(200), recipe=recipe, out=out)


def test_a_head_of_other_classes_is_new_and_the_rest_is_kept(weights, tmp_path):
    done = trained(f"module:startable:small@{weights}", tmp_path / "out")
    found, before = load_file(done.weights), load_file(weights)
    assert same(below(found), below(before))
    assert found["head.weight"].shape == (2, 6)
    assert done.words == (f"a new head: head has 2 outputs here and 7 in {weights}",)
    assert done.words[0] in done.weights.with_suffix(".md").read_text()
    model = load_model(done.address, classes=("top", "bottom"), input_shape=(1, 8, 8))
    assert same(model.as_module().state_dict(), found)


def test_a_head_that_fits_goes_on_from_its_weights(weights, tmp_path):
    first = trained(f"module:startable:small@{weights}", tmp_path / "one")
    again = trained(f"module:startable:small@{first.weights}", tmp_path / "two",
                    "standard(epochs=1, frozen=1, batch=32, learning_rate=1e-9)")  # fmt: skip
    before, after = load_file(first.weights), load_file(again.weights)
    assert same(below(before), below(after))
    torch.testing.assert_close(before["head.weight"], after["head.weight"], atol=1e-6, rtol=0)
    assert again.words == (f"all of it starts from {first.weights}",)


def test_weights_that_differ_elsewhere_are_refused(weights, tmp_path):
    save_file({**load_file(weights), "conv.weight": torch.zeros(5, 1, 3, 3)}, weights)
    with pytest.raises(ModelError, match=r"conv\.weight is \(5, 1, 3, 3\) and should be \(6, 1, 3, 3\)"):
        trained(f"module:startable:small@{weights}", tmp_path / "out")


def test_nothing_is_frozen_that_starts_from_chance(weights, tmp_path):
    with pytest.raises(InputError, match=r"small starts from chance\. Name weights"):
        trained("module:startable:small", tmp_path / "out")


def test_nothing_beneath_the_head_is_nothing_to_freeze(weights, tmp_path):
    save_file({"1.weight": torch.zeros(2, 64), "1.bias": torch.zeros(2)}, weights)
    with pytest.raises(InputError, match="no layer beneath its head"):
        trained(f"module:startable:flat@{weights}", tmp_path / "out")


@pytest.mark.parametrize("fields", [{"frozen": -1}, {"backbone_rate": 0.0}, {"backbone_rate": float("nan")}])
def test_what_cannot_be_frozen_is_refused(fields):
    with pytest.raises(InputError, match=next(iter(fields))):
        Standard(**fields)


def test_the_teacher_of_a_distillation_is_frozen_too(weights, tmp_path):
    recipe = "distilled(epochs=1, frozen=1, batch=32, learning_rate=0.05)"
    done = trained(f"module:startable:small@{weights}", tmp_path / "out", recipe)
    teacher = load_file(next((tmp_path / "out/teacher").glob("*.safetensors")))
    before = load_file(weights)
    assert torch.equal(teacher["student.network.conv.weight"], before["conv.weight"])
    assert torch.equal(load_file(done.weights)["conv.weight"], before["conv.weight"])
