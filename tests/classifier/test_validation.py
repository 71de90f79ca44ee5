"""What breaks the contract is refused at the door, in words that lead on."""

import pytest
import torch
from torch import nn

from demur.classifier import BoundClassifier
from demur.errors import DataError, ModelError, UnknownNameError
from tests.classifier.classifier_nets import CLASSES, SHAPE, Net, images, net, seeded


def build(module=None, **options):
    return BoundClassifier(module or net(), **({"classes": CLASSES, "input_shape": SHAPE} | options))


def with_nan():
    module = net()
    module.norm.running_var[2] = torch.nan
    return module


def half_training():
    module = net()
    module.norm.train()
    return module


class Loud(Net):
    """Finite on the probe, infinite on white images."""

    def forward(self, x):
        return super().forward(x) / (x.mean(dim=(1, 2, 3)) < 0.99)[:, None]


class Dictionary(Net):
    def forward(self, x):
        return {"scores": super().forward(x)}


class Spatial(Net):
    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        (net(end=nn.Softmax(dim=1)), {}, "logits were declared.*Declare output='probabilities'"),
        (net(), {"output": "probabilities"}, "probabilities were declared.*Declare output='logits'"),
        (net(), {"output": "sigmoid"}, "sigmoid outputs were declared.*outside"),
        (net(), {"classes": CLASSES[:3]}, r"gives 4 output\(s\) per image for 3 classes"),
        (net(classes=1), {"classes": ("a", "b")}, "declares output='logit', or output='sigmoid'"),
        (net(classes=2), {"classes": ("a", "b"), "output": "logit"}, "declare output='logits'"),
        (net(), {"output": "logit"}, "second of two classes; got 4 classes"),
        (with_nan(), {}, r"tensor 'norm.running_var' has 1 NaN or infinite value\(s\) of 6"),
        (half_training(), {}, r"1 are in training mode, among them 'norm' \(BatchNorm2d\).*model.eval\(\)"),
        (Net(), {}, r"among them 'norm'"),
        (net(channels=1), {}, "must read images of shape .3, 8, 8.; it failed.*Check channels"),
        (seeded(Dictionary()), {"classes": ("a", "b")}, r"gave a dict with scores float32 \(2, 4\)"),
        (seeded(Spatial()), {}, r"gave the shape \(2, 6, 8, 8\)"),
        (net(), {"classes": ["cat"]}, "at least two classes; got 1"),
        (net(), {"classes": ["cat", "dog", "cat", "ship"]}, "'cat' is named twice"),
        (net(), {"input_shape": (3, 8, 0)}, "three positive integers"),
        (net(), {"mean": [0.5]}, r"one value per channel; got 1 for images of 3 channel\(s\)"),
        (net(), {"mean": [123.7, 116.3, 103.5]}, "looks like 0–255. Divide mean and std by 255"),
        (net(), {"mean": [torch.nan] * 3}, "`mean` must be finite"),
        (net(), {"std": [0.2, 0.0, 0.2]}, "`std` must be positive"),
    ],
)
def test_a_model_that_breaks_the_contract_is_refused(module, options, words):
    with pytest.raises(ModelError, match=words) as refusal:
        build(module, **options)
    assert "\n" not in str(refusal.value)


def test_an_unknown_output_offers_the_nearest():
    with pytest.raises(ModelError, match="Did you mean 'probabilities'"):
        build(output="probability")


def test_an_unknown_feature_layer_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'norm'"):
        build(features="norms")


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (images() * 255, "found .* Pixels of 0–255 must be divided by 255"),
        ((images() * 255).byte(), r"got torch.uint8. Give images.float\(\) / 255"),
        (images() * 2 - 1, "normalised already"),
        (images() * 1.2, r"Clip them to \[0, 1\]"),
        (images() * torch.nan, "must be finite"),
        (images(shape=(1, 8, 8)), r"have 1 channel\(s\), the model reads 3"),
        (images().permute(0, 2, 3, 1), r"images.permute\(0, 3, 1, 2\)"),
        (images()[0], r"images\[None\]"),
        (images(shape=(3, 9, 8)), "Resize"),
        (images(rows=0), r"got \(0, 3, 8, 8\)"),
    ],
)
def test_images_outside_the_contract_are_refused(batch, words):
    with pytest.raises(DataError, match=words):
        build().check(batch)


def test_good_images_pass_up_to_rounding():
    build().check(images())
    build().check(torch.full((2, *SHAPE), 1 + 5e-7))


def test_answers_that_are_not_finite_are_counted():
    batch = torch.cat([images(3), torch.ones(2, *SHAPE)])
    with pytest.raises(ModelError, match="2 of 5 images gave NaN or infinity"):
        build(seeded(Loud())).check(batch)


def test_a_model_put_back_into_training_mode_is_caught_by_the_next_check():
    module = net()
    classifier = build(module)
    module.train()
    with pytest.raises(ModelError, match="in training mode"):
        classifier.check(images())
