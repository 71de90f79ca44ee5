"""A network that starts from weights: what is frozen stays to the bit, then learns; a kill changes nothing."""

import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.bars import bars, same, training_images
from tests.training.test_learning_loop import Fuse, Killed
from torch import nn

from demur.adapters import load_model
from demur.errors import InputError, ModelError
from demur.training import Standard, fresh, frozen_features, learn, train
from demur.training.adversarial import TRADES
from demur.training.backbone import Backbone, evaluating
from demur.training.checkpoints import Checkpoints
from demur.training.learning_loop import InputScaling
from demur.training.standard import GaussianNoise

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

def loaded(classes):
    from pathlib import Path
    from safetensors.torch import load_file
    found = load_file(Path(__file__).with_name("seven.safetensors"))
    module = Small(classes)
    module.load_state_dict({**found, "head.weight": module.head.weight, "head.bias": module.head.bias})
    return module

def flat(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Those of a network of seven classes."""
    (tmp_path / "startable.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "startable", raising=False)
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


def test_nothing_is_frozen_that_starts_from_chance(tmp_path):
    with pytest.raises(InputError, match=r"compact_resnet starts from chance\. Name weights"):
        trained("compact_resnet", tmp_path / "out")


def test_what_a_function_of_ones_own_gives_is_frozen_as_it_is(weights, tmp_path):
    found = load_file(trained("module:startable:loaded", tmp_path / "out").weights)
    assert same(below(found), below(load_file(weights)))


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


STILL = replace(RECIPE, mirror=False, shift=0)
CUT = Backbone(head=HEAD, epochs=2, rate=0.1, layer="head")


class Stack(nn.Module):
    """A head of several layers on maps of a frozen one."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.top = nn.Sequential(nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.3))
        self.linear = nn.Linear(4, 2)
        self.calls = 0

    def features(self, images):
        self.calls += 1
        return torch.relu(self.norm(self.conv(images)))

    def answer(self, maps):
        return self.linear(self.top(maps).mean(dim=(2, 3)))

    def forward(self, images):
        return self.answer(self.features(images))


def stacked():
    network = InputScaling(fresh(Stack, 0), [0.5], [0.25])
    head = frozenset(name for name, _ in network.named_parameters() if "conv." not in name and ".norm." not in name)
    return network, head | {"network.top.0.weight", "network.top.0.bias"}


def smooth():
    module = fresh(Small, 0)
    module.norm.running_mean += 0.1
    return module


@pytest.mark.parametrize("kind", ["layer", "stack"])
def test_features_computed_once_lead_to_the_same_bits(kind, monkeypatch, tmp_path):
    """With a kill in the frozen epochs, too: they are computed in the order of the set, not of an epoch."""
    module, cut = (
        (smooth(), CUT) if kind == "layer" else (stacked()[0], Backbone(head=stacked()[1], epochs=2, rate=0.1))
    )

    def run(**given):
        return learn(STILL, module, training_images(), 3, backbone=cut, **given)

    shortened = run()
    with pytest.raises(Killed):
        run(progress=Fuse(6), checkpoints=Checkpoints(tmp_path))
    assert same(run(checkpoints=Checkpoints(tmp_path)), shortened)
    monkeypatch.setattr(frozen_features, "ROOM", 0)
    whole = run()
    for name, value in shortened.items():
        torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-5)


def count_passes(recipe, module, cut):
    """Passes of the first layer over 64 images in batches of 16."""
    calls = []
    first = module.get_submodule("network.conv" if cut.layer == "" else "conv")
    original = type(first).forward

    class Watching(nn.Conv2d):
        def forward(self, x):
            calls.append(len(x))
            return original(self, x)

    first.__class__ = Watching
    learn(recipe, module, training_images(), 3, backbone=cut)
    return sum(calls)


def test_features_are_computed_once_where_nothing_moves_the_images():
    network, head = stacked()
    cut = Backbone(head=head, epochs=4, rate=0.1)
    few = 64 + 3 * 2  # once, and two images three times to see that both halves answer what the network does
    assert count_passes(replace(STILL, frozen=4), network, cut) == few
    assert count_passes(replace(STILL, frozen=4), smooth(), replace(CUT, epochs=4)) == few


@pytest.mark.parametrize(
    "recipe", [RECIPE, replace(STILL, mirror=True), GaussianNoise(epochs=2, batch=16, mirror=False, shift=0)]
)
def test_images_that_change_are_seen_anew(recipe):
    assert count_passes(replace(recipe, epochs=2), smooth(), CUT) == 2 * 64


def test_what_cannot_be_cut_or_held_is_seen_anew(monkeypatch):
    class Crooked(Small):
        def forward(self, x):
            return 2 * super().forward(x)

    assert count_passes(replace(STILL, epochs=2), fresh(Crooked, 0), CUT) == 2 * 64 + 3 * 2
    monkeypatch.setattr(frozen_features, "ROOM", 64 * 6 * 4 - 1)
    assert count_passes(replace(STILL, epochs=2), smooth(), CUT) == 2 * 64 + 2
    monkeypatch.setattr(frozen_features, "ROOM", 64 * 6 * 4)
    assert count_passes(replace(STILL, epochs=2), smooth(), CUT) == 64 + 3 * 2
