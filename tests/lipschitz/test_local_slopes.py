import pytest
import torch
from tests.lipschitz.lipschitz_nets import NETS, SHAPE, classifier, images, seeded
from torch import nn

from demur.classifier import BoundClassifier
from demur.lipschitz import local_norms, local_slopes
from demur.lipschitz.local_slopes import DENSE

ids = [net.__name__ for net in NETS]


def dense(model, x):
    """The largest singular value of each image's Jacobian, image by image."""
    model, x = model.double, x.double()
    jacobians = [torch.autograd.functional.jacobian(lambda one: model.logits(one[None])[0], image) for image in x]
    return [float(torch.linalg.matrix_norm(jacobian.flatten(1), ord=2)) for jacobian in jacobians]


@pytest.mark.parametrize("net", NETS, ids=ids)
def test_a_local_norm_is_the_largest_singular_value_of_the_jacobian(net):
    model = classifier(net)
    assert local_norms(model, images()).tolist() == pytest.approx(dense(model, images()), rel=1e-4)


class Many(nn.Module):
    """More classes than are differentiated one by one."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(288, 40)

    def forward(self, x):
        return self.head(torch.tanh(self.conv(x)).flatten(1))


class Attending(nn.Module):
    """Attention, of whose kernels some have no second derivative."""

    def __init__(self):
        super().__init__()
        self.heads, self.head = nn.MultiheadAttention(12, 2, batch_first=True), nn.Linear(12, 40)

    def forward(self, x):
        tokens = x.reshape(x.shape[0], 16, 12)
        return self.head(self.heads(tokens, tokens, tokens, need_weights=False)[0].mean(dim=1))


def many(net=Many):
    return BoundClassifier(seeded(net()), classes=[f"c{k}" for k in range(40)], input_shape=SHAPE)


def test_power_iteration_finds_the_same_from_below():
    model = many()
    found, expected = local_norms(model, images()).tolist(), dense(model, images())
    assert found == pytest.approx(expected, rel=1e-5)
    assert all(one <= other * (1 + 1e-5) for one, other in zip(found, expected, strict=True))


def test_attention_has_a_norm():
    model = many(Attending)
    assert local_norms(model, images()).tolist() == pytest.approx(dense(model, images()), rel=1e-4)


def test_no_more_is_seen_than_is_there_however_the_search_goes_astray(monkeypatch):
    model = many()
    monkeypatch.setattr(local_slopes, "_STEP", 3.0)
    found, expected = local_norms(model, images()).tolist(), dense(model, images())
    assert all(0.3 * other < one <= other * (1 + 1e-6) for one, other in zip(found, expected, strict=True))


def test_many_images_are_taken_a_few_at_a_time(monkeypatch):
    model = classifier(NETS[1])
    whole = local_norms(model, images()).tolist()
    monkeypatch.setattr(local_slopes, "_NUMBERS", 2 * DENSE * 192)
    assert local_norms(model, images()).tolist() == pytest.approx(whole, rel=1e-5)


def test_power_iteration_and_the_whole_jacobian_agree(monkeypatch):
    model = classifier(NETS[1])
    exact = local_norms(model, images())
    monkeypatch.setattr(local_slopes, "DENSE", 3)
    assert local_norms(model, images()).tolist() == pytest.approx(exact.tolist(), rel=1e-5)


@pytest.mark.parametrize("model", [classifier(NETS[2]), many()], ids=["few", "many"])
def test_an_image_has_its_norm_whatever_its_company(model):
    together = local_norms(model, images()).tolist()
    assert [float(local_norms(model, image[None])) for image in images()] == pytest.approx(together, rel=1e-5)
    assert local_norms(model, images()).tolist() == together


def test_a_model_without_a_slope_has_the_norm_zero():
    model = classifier(nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Threshold(1e6, 0)))
    assert local_norms(model, images()).tolist() == [0] * 6
