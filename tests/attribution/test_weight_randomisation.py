"""Made-up weights are made up for all, finite however deep, and maps that look at weights change with them."""

import copy
import math

import pytest
import torch
from tests.classifier.classifier_nets import hooks_on, images, net, seeded
from torch import nn

import demur
from demur.attribution.localisation import agreement
from demur.attribution.weight_randomisation import FAILS, correlation, sentence, with_random_weights
from demur.classifier import BoundClassifier
from demur.randomness import Keys
from demur.registry import build, resolve

SHAPE = (3, 8, 8)


def wrapped(module, **declared):
    return BoundClassifier(module, classes=tuple("abcd"), input_shape=SHAPE, **declared)


def test_every_weight_is_another_and_the_model_stays_as_it_was():
    classifier = wrapped(net(), mean=(0.5,) * 3, std=(0.2,) * 3, name="mine")
    before, x = classifier.sha256, images()
    made = with_random_weights(classifier)
    assert classifier.sha256 == before
    assert made.name == "mine with made-up weights"
    assert (made.classes, made.contract) == (classifier.classes, classifier.contract)
    old, new = classifier.as_module().state_dict(), made.as_module().state_dict()
    assert all(not torch.equal(old[name], new[name]) for name in old if "num_batches" not in name)
    assert hooks_on(made.as_module()) == hooks_on(classifier.as_module()) == 0
    assert not made.as_module().training
    assert made.logits(x).isfinite().all()
    assert all(weight.requires_grad for weight in made.as_module().parameters())


def test_the_seed_is_all_it_depends_on():
    classifier = wrapped(net())
    torch.rand(3)
    first, again, other = (with_random_weights(classifier, seed) for seed in (0, 0, 1))
    assert first.sha256 == again.sha256 != other.sha256


def test_weights_are_those_of_he():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 500, 3), nn.BatchNorm2d(500)
            self.head, self.scale = nn.Linear(500, 4), nn.Parameter(torch.full((500,), 3.0))

        def forward(self, x):
            return self.head((self.scale[:, None, None] * self.norm(self.conv(x)).relu()).mean(dim=(2, 3)))

    made = with_random_weights(wrapped(seeded(Wide()))).as_module().requires_grad_(False)
    assert made.conv.weight.std() == pytest.approx(math.sqrt(2 / 27), rel=0.05)
    assert made.head.weight.std() == pytest.approx(math.sqrt(2 / 500), rel=0.05)
    assert made.scale.std() == pytest.approx(seeded(Wide()).scale.square().mean().sqrt().item(), rel=0.1)
    assert made.norm.weight.unique().tolist() == [1]
    assert not made.norm.bias.any()
    assert not made.head.bias.any()


def test_statistics_are_those_of_what_passes():
    made = with_random_weights(wrapped(net()))
    seen = []
    made.as_module().norm.register_forward_hook(lambda _m, _i, out: seen.append(out))
    pixels = torch.rand(400, *SHAPE, generator=torch.Generator().manual_seed(1))
    made.logits(pixels)
    torch.testing.assert_close(seen[0].mean(dim=(0, 2, 3)), torch.zeros(6), atol=0.1, rtol=0)
    torch.testing.assert_close(seen[0].var(dim=(0, 2, 3)), torch.ones(6), atol=0.15, rtol=0)


@pytest.mark.parametrize("normed", [True, False])
def test_however_deep_the_answer_stays_finite(normed):
    layers = [nn.Conv2d(3, 8, 3, padding=1)]
    for _ in range(60):
        layers += [*([nn.BatchNorm2d(8)] if normed else []), nn.ReLU6(inplace=True), nn.Conv2d(8, 8, 3, padding=1)]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    made = with_random_weights(wrapped(copy.deepcopy(module)))
    logits = made.logits(images())
    assert logits.isfinite().all()
    if normed:
        assert 0.01 < logits.std() < 100


@pytest.mark.parametrize("output", ["probabilities", "sigmoid"])
def test_what_a_model_declares_it_goes_on_declaring(output):
    end = nn.Softmax(dim=1) if output == "probabilities" else nn.Sigmoid()
    made = with_random_weights(wrapped(net(end=end), output=output).double)
    assert made.contract.output == output
    assert made.logits(images().double()).dtype == torch.float64


class Edges:
    """A map that never asks the model."""

    sentence, passes = "edges", 0.0

    def __call__(self, classifier, images, classes, keys):
        return images.diff(dim=3).abs().amax(dim=1)


def test_a_map_that_ignores_the_model_is_found_out():
    x, classes, keys = images(), torch.zeros(5, dtype=torch.int64), Keys.of(0, list("abcde"), "")
    found = correlation(Edges(), wrapped(net()), x, classes, keys)
    torch.testing.assert_close(found, torch.ones_like(found))
    assert sentence(float(found.mean())).endswith("this map shows the image more than what the model has learned")


def test_the_correlation_is_that_of_both_models_maps():
    classifier, x, classes = wrapped(net()), images(), torch.tensor([0, 1, 2, 3, 0])
    keys, map_ = Keys.of(0, list("abcde"), ""), build("map", "smooth_grad(n=2)")
    for seed in (0, 3):
        slow = agreement(
            map_(classifier, x, classes, keys), map_(with_random_weights(classifier, seed), x, classes, keys)
        )[0]
        assert torch.equal(correlation(map_, classifier, x, classes, keys, seed), slow)


def test_a_map_that_is_empty_has_no_correlation():
    class Nothing(Edges):
        def __call__(self, classifier, images, classes, keys):
            return torch.zeros(len(images), 4, 4)

    x, keys = images(), Keys.of(0, list("abcde"), "")
    assert correlation(Nothing(), wrapped(net()), x, torch.zeros(5, dtype=torch.int64), keys).isnan().all()
    assert sentence(math.nan).startswith("undefined")


@pytest.mark.parametrize(
    ("name", "passes"),
    [("grad_cam", True), ("gradient", True), ("smooth_grad(n=3)", True), ("gradient_x_input", False),
     ("integrated_gradients(steps=5)", False)],
)  # fmt: skip
def test_the_shipped_model_tells_maps_of_the_model_from_maps_of_the_image(name, passes):
    """A garment on black: what is multiplied with the image shows its outline, whatever the weights."""
    source = demur.open_data("fashion")
    rows = list(source.read(range(0, 3200, 100)))
    model = demur.load_model("fashion", classes=source.classes, input_shape=source.input_shape)
    x, keys = torch.stack([row.image for row in rows]), Keys.of(0, [row.sample_id for row in rows], name)
    with torch.no_grad():
        answers = model.logits(x).argmax(dim=1)
    mean = float(correlation(build("map", name), model, x, answers, keys).nanmean())
    assert (mean < FAILS) == passes
    assert abs(mean) < 0.3 or mean > 0.7
    assert f"{mean:.2f}" in sentence(mean)
    assert ("changes with what the model has learned" in sentence(mean)) == passes


def test_zoo_nets_can_be_made_up():
    for name in ("resnet56", "simple_cnn"):
        module = resolve("architecture", name)(channels=3, classes=4).eval()
        made = with_random_weights(BoundClassifier(module, classes=tuple("abcd"), input_shape=(3, 32, 32)))
        logits = made.logits(torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
        assert logits.isfinite().all()
        assert logits.abs().max() < 1e3
