"""A model asked about other classes than its outputs gives exactly their probabilities."""

import pickle

import pytest
import torch
from torch import nn

from demur.classifier import BoundClassifier
from demur.classifier.chosen_outputs import finding, summed
from demur.errors import ModelError

FIVE = ("ant", "bee", "cat", "dog", "eel")
SHAPE = (3, 4, 4)


class Twisted(nn.Module):
    """Logits that no linear layer puts out."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.eval()

    def forward(self, x):
        return self.inner(x) + 0.1 * x.mean(dim=(1, 2, 3))[:, None].sin()


def net(*last):
    torch.manual_seed(3)  # noqa: TID251 - weights of a test
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.ReLU(), nn.Linear(7, 5), *last).eval()


def classifier(module=None, **others):
    return BoundClassifier(
        module or net(), classes=FIVE, input_shape=SHAPE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), **others
    )


@pytest.fixture
def images():
    return torch.rand(9, *SHAPE, generator=torch.Generator().manual_seed(1))


KINDS = {
    "a linear head": lambda: classifier(),
    "no linear head": lambda: classifier(Twisted(net())),
    "probabilities": lambda: classifier(net(nn.Softmax(1)), output="probabilities"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_that_are_picked_share_the_probability_of_the_others(kind, images):
    whole = KINDS[kind]()
    picked = summed(whole, [[3], [0]], ("dog", "ant"))
    shares = whole(images).softmax(dim=1)[:, [3, 0]]
    torch.testing.assert_close(picked(images).softmax(dim=1), shares / shares.sum(dim=1, keepdim=True))
    assert picked.classes == ("dog", "ant")
    assert picked.name == whole.name


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_that_are_summed_add_their_probabilities(kind, images):
    whole = KINDS[kind]()
    coarse = summed(whole, [[0, 1], [2, 3], [4]], ("insect", "pet", "fish"))
    every = whole(images).softmax(dim=1)
    wanted = torch.stack([every[:, :2].sum(dim=1), every[:, 2:4].sum(dim=1), every[:, 4]], dim=1)
    torch.testing.assert_close(coarse(images).softmax(dim=1), wanted)


def test_sums_of_probabilities_that_round_to_nothing_are_exact():
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).eval()
    with torch.no_grad():
        module[1].weight.zero_()
        module[1].bias.copy_(torch.tensor([0.0, -200.0, -201.0, -300.0, -1.0]))
    coarse = summed(classifier(module), [[0, 4], [1, 2], [3]], ("top", "low", "lowest"))
    low = coarse(torch.zeros(1, *SHAPE))[0]
    torch.testing.assert_close(low[1], torch.tensor([-200.0, -201.0]).logsumexp(0))
    assert low[2] == -300


def test_gradients_of_coarse_classes_are_those_of_the_sum(images):
    whole = classifier(Twisted(net()))
    coarse = summed(whole, [[0, 1], [2, 3, 4]], ("insect", "other"))
    _, gradient = coarse.loss_gradient(images, lambda logits: logits.log_softmax(dim=1)[:, 0])
    _, wanted = whole.loss_gradient(images, lambda logits: logits.softmax(dim=1)[:, :2].sum(dim=1).log())
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6)


def test_picked_outputs_of_a_linear_head_keep_their_features_and_weights(images):
    whole = classifier()
    picked = summed(whole, [[3], [0]], ("dog", "ant"))
    torch.testing.assert_close(picked.features(images), whole.features(images))
    torch.testing.assert_close(picked.head[0], whole.head[0][[3, 0]])
    assert len(whole.head[0]) == 5, "the model itself stays as it is"


def test_features_that_were_named_stay_so():
    whole = classifier(Twisted(net()), features="inner.2")
    coarse = summed(whole, [[0, 1], [2, 3, 4]], ("insect", "other"))
    x = torch.rand(2, *SHAPE)
    torch.testing.assert_close(coarse.features(x), whole.features(x))


def test_other_groups_are_another_model(images):
    whole = classifier(Twisted(net()))
    one, other = (summed(whole, groups, ("a", "b")) for groups in ([[0, 1], [2]], [[0], [1, 2]]))
    assert len({one.sha256, other.sha256, whole.sha256}) == 3
    assert torch.equal(pickle.loads(pickle.dumps(one))(images), one(images))


@pytest.mark.parametrize("module", [net, lambda: Twisted(net())], ids=["head", "no head"])
def test_a_finding_is_one_sigmoid_against_its_absence(module, images):
    whole = classifier(module())
    one = finding(whole, "cat")
    assert one.classes == ("not cat", "cat")
    torch.testing.assert_close(one(images).softmax(dim=1)[:, 1], whole(images)[:, 2].sigmoid())


@pytest.mark.parametrize("last", [(nn.Sigmoid(),), (nn.Sigmoid(), nn.Identity())])
def test_a_finding_of_a_model_that_ends_in_sigmoids_is_what_it_says(last, images):
    whole = classifier(net(*last), output="sigmoid")
    one = finding(whole, "eel")
    said = whole.as_module()(whole.prepare(images))[:, 4]
    torch.testing.assert_close(one(images).softmax(dim=1)[:, 1], said)
    assert (one.head is None) == (whole.head is None)


def test_shares_of_one_whole_are_no_findings():
    with pytest.raises(ModelError, match="probabilities that sum to 1"):
        finding(classifier(net(nn.Softmax(1)), output="probabilities"), "cat")
