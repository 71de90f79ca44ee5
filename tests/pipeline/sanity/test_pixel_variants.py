"""Variants of pixels: what the module is given under each, and that each mends the mistake it is named for."""

import pytest
import torch
from torch import nn

from demur.classifier import BoundClassifier
from demur.pipeline.sanity.pixel_variants import IMAGENET, pixel_variants

X = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


class Kept(nn.Module):
    """Answers by the mean of each channel, and keeps what it was given."""

    def forward(self, x):
        self.x = x
        return x.mean(dim=(2, 3))


def classifier(shape=(3, 6, 6), **declared):
    names = [f"class {k}" for k in range(shape[0])] if shape[0] > 1 else ["a", "b"]
    net = Kept() if shape[0] > 1 else nn.Sequential(nn.Flatten(), nn.Linear(shape[1] * shape[2], 2))
    return BoundClassifier(net.eval(), classes=names, input_shape=shape, **declared)


def variants(model, sample=X):
    return {each.name: each for each in pixel_variants(model.contract, sample)}


def given_to_module(model, name):
    model.logits(variants(model)[name].images(X, None))
    return model.as_module().x


def per_channel(values):
    return torch.tensor(values).view(1, -1, 1, 1)


NORMAL = (X - per_channel(MEAN)) / per_channel(STD)
SCALED = {
    "no normalisation": X,
    "pixels of 0 to 255": 255 * X,
    "pixels of 0 to 255, then normalised": (255 * X - per_channel(MEAN)) / per_channel(STD),
    "pixels of -1 to 1": 2 * X - 1,
    "normalised twice": (NORMAL - per_channel(MEAN)) / per_channel(STD),
    "ImageNet's mean and deviation": (X - per_channel(IMAGENET.mean)) / per_channel(IMAGENET.std),
    "mean and deviation of these images": (X - X.mean(dim=(0, 2, 3), keepdim=True))
    / X.std(dim=(0, 2, 3), keepdim=True, correction=0),
    "blue for red (BGR)": (X.flip(1) - per_channel(MEAN)) / per_channel(STD),
    "blue for red, pixels of 0 to 255 less ImageNet's mean": 255 * X.flip(1) - 255 * per_channel(IMAGENET.mean[::-1]),
    "inverted": (1 - X - per_channel(MEAN)) / per_channel(STD),
}


@pytest.mark.parametrize("name", SCALED)
def test_the_module_is_given_what_the_variant_says(name):
    found = given_to_module(classifier(mean=MEAN, std=STD), name)
    torch.testing.assert_close(found, SCALED[name], rtol=1e-4, atol=1e-4)


def test_the_options_of_a_scaling_make_a_model_that_is_given_the_same():
    model = classifier(mean=MEAN, std=STD)
    remedy = variants(model)["pixels of -1 to 1"].remedy
    assert "?mean=0.5,0.5,0.5&std=0.5,0.5,0.5" in remedy
    other = classifier(mean=(0.5,) * 3, std=(0.5,) * 3)
    other.logits(X)
    torch.testing.assert_close(other.as_module().x, SCALED["pixels of -1 to 1"])


def test_a_model_without_normalisation_is_not_asked_for_what_changes_nothing():
    names = set(variants(classifier()))
    assert not names & {"no normalisation", "normalised twice", "pixels of 0 to 255, then normalised"}
    assert {"pixels of 0 to 255", "pixels of -1 to 1", "ImageNet's mean and deviation"} <= names
    assert "pixels of -1 to 1" not in variants(classifier(mean=(0.5,) * 3, std=(0.5,) * 3))


MISTAKES = {
    "blue for red (BGR)": lambda x: x.flip(1),
    "inverted": lambda x: 1 - x,
    "channels last, read as channels first": lambda x: x.permute(0, 2, 3, 1).reshape(x.shape),
    "channels first, reshaped to channels last": lambda x: x.reshape(len(x), 6, 6, 3).permute(0, 3, 1, 2),
    "mirrored": lambda x: x.flip(3),
    "turned upside down": lambda x: x.flip(2, 3),
    "mirrored top to bottom": lambda x: x.flip(2),
    "with rows and columns exchanged": lambda x: x.transpose(2, 3),
    "turned to the left": lambda x: x.rot90(-1, (2, 3)),
    "turned to the right": lambda x: x.rot90(1, (2, 3)),
    "with rows and columns exchanged, turned upside down": lambda x: x.flip(2, 3).transpose(2, 3),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_variant_undoes_the_mistake_it_is_named_for(name):
    found = variants(classifier())
    undone = {other for other, each in found.items() if torch.allclose(each.images(MISTAKES[name](X), None), X)}
    assert undone == {name}


def test_grey_in_three_channels_is_grey_and_as_bright_as_pillow_has_it():
    from PIL import Image

    found = variants(classifier())["grey in three channels"].images(X, None)
    assert torch.equal(found[:, 0], found[:, 2])
    picture = Image.fromarray((255 * X[0]).round().byte().permute(1, 2, 0).numpy()).convert("L")
    pillow = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(6, 6) / 255
    assert (found[0, 0] - pillow).abs().max() < 2 / 255


def test_grey_images_have_no_colours_and_oblong_ones_cannot_be_turned():
    grey = set(variants(classifier((1, 6, 6)), X[:, :1]))
    assert not any(word in name for name in grey for word in ("blue", "grey", "channels", "ImageNet"))
    oblong = set(variants(classifier((3, 6, 4)), X[..., :4]))
    assert {"mirrored", "turned upside down", "mirrored top to bottom"} <= oblong
    assert not any("turned to" in name or "exchanged" in name for name in oblong)


SHADES = [(torch.clone, False), (lambda x: x / 2, True), (lambda x: (1 + x) / 2, True)]


@pytest.mark.parametrize(("change", "pale"), SHADES)
def test_scales_may_be_a_shift_where_images_are_dim_or_foggy(change, pale):
    found = variants(classifier(mean=MEAN, std=STD), change(X))
    assert found["pixels of -1 to 1"].adapted == found["no normalisation"].adapted == pale
    assert found["mean and deviation of these images"].adapted
    assert not found["pixels of 0 to 255"].adapted
    assert not found["inverted"].adapted


def test_the_deviation_of_images_without_any_is_no_variant():
    assert "mean and deviation of these images" not in variants(classifier(), torch.zeros_like(X))
