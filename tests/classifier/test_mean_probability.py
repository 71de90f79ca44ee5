"""Several classifiers as one: the mean probability to the digit, each member normalised by itself, gradients of all."""

import copy

import mpmath
import numpy as np
import pytest
import torch
from torch import nn

from demur.classifier import BoundClassifier, Classifier, ensemble
from demur.classifier.mean_probability import member_layers
from demur.errors import ModelError
from demur.evidence import Evidence
from demur.signals import EnsembleDisagreement
from tests import tiny


class Answering(nn.Module):
    """The same numbers whatever the image, and a little of its mean."""

    def __init__(self, logits, share=0.0):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))
        self.share = share

    def forward(self, x):
        steps = torch.arange(1.0, 1 + len(self.logits)).to(self.logits)
        return self.logits + self.share * x.mean(dim=(1, 2, 3))[:, None] * steps


class Spoiling(tiny.Net):
    """One that writes into what it is given, and answers in a dictionary."""

    def forward(self, x):
        x.mul_(2.0)
        return {"out": tiny.Net.forward(self, x), "rows": x.mean(dim=(1, 2, 3))}


def bound(module, classes=tiny.CLASSES, shape=tiny.SHAPE, **given):
    return BoundClassifier(module.eval(), classes=classes, input_shape=shape, **given)


@pytest.fixture
def images():
    return tiny.images_and_labels(rows=12)[0]


def test_the_answer_is_the_log_of_the_mean_softmax_in_400_digits(images):
    rows = [[80.0, -20.0, 3.0], [75.0, 0.0, -90.0], [-3.0, 1.0, 2.0]]
    found = ensemble([bound(Answering(row)) for row in rows])(images[:1].double())[0].tolist()
    with mpmath.workdps(400):
        total = [mpmath.fsum(mpmath.exp(z) for z in row) for row in rows]
        for k in range(3):
            mean = mpmath.fsum(mpmath.exp(row[k]) / each for row, each in zip(rows, total, strict=True)) / 3
            assert found[k] == pytest.approx(float(mpmath.log(mean)), rel=1e-6)


def test_probabilities_below_the_smallest_number_keep_their_order():
    """Both members give the second class far less than float32 can hold."""
    one, other = bound(Answering([300.0, 0.0, -200.0])), bound(Answering([299.0, 0.0, -200.0]))
    found = ensemble([one, other])(torch.full((2, *tiny.SHAPE), 0.5))[0]
    assert found.isfinite().all()
    assert found[0].item() == pytest.approx(0.0, abs=1e-6)
    assert (found[1] - found[2]).item() == pytest.approx(200.0, rel=1e-5)


def test_every_member_has_preprocessing_and_outputs_of_its_own(images):
    members = [
        bound(tiny.Net(), mean=[0.4], std=[0.5]),
        bound(Spoiling(sharpness=3.0), std=[2.0]),
        bound(nn.Sequential(tiny.Net(sharpness=5.0), nn.Softmax(dim=1)), output="probabilities"),
    ]
    made = ensemble(members)
    before = images.clone()
    expected = torch.stack([member(images).softmax(dim=1) for member in members]).mean(dim=0)
    torch.testing.assert_close(made(images).softmax(dim=1), expected)
    assert torch.equal(images, before)
    torch.testing.assert_close(made(images[:1])[0], made(images)[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made.double(images.double()).float(), made(images), rtol=1e-4, atol=1e-4)


def test_the_gradient_is_that_of_the_mean_probability(images):
    """By autograd through each member alone, and through a probability that rounds to 1."""
    members = [bound(tiny.Net()), bound(tiny.Net(sharpness=40.0), mean=[0.3])]
    made, x = ensemble(members), images.double().requires_grad_()
    exact = [member.double for member in members]
    mean = torch.stack([member(x).softmax(dim=1) for member in exact]).mean(dim=0)
    (expected,) = torch.autograd.grad(mean[:, 1].log().sum(), x)
    found = made.double.loss_gradient(images.double(), lambda z: z.log_softmax(dim=1)[:, 1])[1]
    torch.testing.assert_close(found, expected)
    assert (found != 0).any()


def test_the_hash_follows_weights_and_declarations_of_every_member():
    def made(*pairs):
        return ensemble([bound(tiny.Net(sharpness=each), **given) for each, given in pairs]).sha256

    plain = made((12.0, {}), (3.0, {}))
    assert plain == made((12.0, {}), (3.0, {}))
    others = [
        made((12.0, {}), (4.0, {})),
        made((11.0, {}), (3.0, {})),
        made((12.0, {}), (3.0, {"mean": [0.1]})),
        made((12.0, {"std": [0.9]}), (3.0, {})),
        made((12.0, {}), (3.0, {}), (3.0, {})),
    ]
    assert len({plain, *others}) == 6
    probable = nn.Sequential(tiny.Net(), nn.Softmax(dim=1))
    kinds = [
        ensemble([bound(copy.deepcopy(probable), output=kind)] * 2).sha256 for kind in ("probabilities", "sigmoid")
    ]
    assert kinds[0] != kinds[1]


def test_it_has_seen_what_its_members_have_seen():
    made = ensemble([bound(tiny.Net(), learned_from=["a", "b"]), bound(tiny.Net(), learned_from=["b", "c"])])
    assert made.learned_from == {"a", "b", "c"}
    assert made.parameters == 2 * sum(each.numel() for each in tiny.Net().parameters())


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"classes": ("disc", "cross", "bar")},
            "same classes, in one order; Net has disc, bar, cross and Net disc, cr",
        ),
        ({"shape": (1, 8, 9)}, r"same input shape; Net has 1, 8, 8 and Net 1, 8, 9"),
    ],
)
def test_members_that_do_not_fit_together_are_refused(other, words):
    module = tiny.Net() if "classes" in other else nn.Sequential(nn.ZeroPad2d((0, -1, 0, 0)), tiny.Net())
    with pytest.raises(ModelError, match=words):
        ensemble([bound(tiny.Net(), name="Net"), bound(module, name="Net", **other)])


def test_precisions_are_not_mixed_and_one_model_is_none():
    with pytest.raises(ModelError, match=r"same precision; Net has torch\.float32 and Net torch\.float64"):
        ensemble([bound(tiny.Net()), bound(tiny.Net().double())])
    with pytest.raises(ModelError, match="at least two models; got 1"):
        ensemble([bound(tiny.Net())])


def test_half_precision_members_are_averaged_in_single(images):
    members = [bound(Answering([9.0, 3.0, 0.0]).half()), bound(Answering([7.0, 3.0, 1.0]).half())]
    found = ensemble(members)(images)
    expected = torch.tensor([[9.0, 3.0, 0.0], [7.0, 3.0, 1.0]]).softmax(dim=1).mean(dim=0).log()
    torch.testing.assert_close(found[0], expected)


class TestDisagreement:
    def test_it_is_the_entropy_of_the_mean_less_the_mean_entropy(self, images):
        rows = np.array([[3.0, 1.0, 0.0], [0.0, 4.0, 1.0]])
        made = ensemble([bound(Answering(row.tolist())) for row in rows])
        p = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)

        def entropy(q):
            return -(q * np.log(q)).sum()

        expected = entropy(p.mean(axis=0)) - (entropy(p[0]) + entropy(p[1])) / 2
        assert EnsembleDisagreement()(Evidence(made, images)).tolist() == pytest.approx([expected] * 12, rel=1e-6)

    def test_it_goes_from_nothing_to_the_logarithm_of_the_members(self, images):
        alike = ensemble([bound(Answering([1.0, 2.0, 3.0]))] * 3)
        assert EnsembleDisagreement()(Evidence(alike, images)).abs().max() < 1e-12
        many = ensemble([bound(tiny.Net(sharpness=each)) for each in (12.0, 12.0, 12.0, 12.0 + 1e-6, 12.0)])
        assert EnsembleDisagreement()(Evidence(many, tiny.images_and_labels(rows=400)[0])).min() >= 0
        apart = ensemble([bound(Answering(row)) for row in ([90.0, 0.0, 0.0], [0.0, 90.0, 0.0])])
        assert EnsembleDisagreement()(Evidence(apart, images))[0].item() == pytest.approx(np.log(2))

    def test_it_takes_one_pass_and_leaves_no_hook(self, images):
        made = ensemble([bound(tiny.Net()), bound(tiny.Net(sharpness=3.0))])
        evidence = Evidence(made, images, features=False)
        _ = evidence.logits
        EnsembleDisagreement()(evidence)
        assert evidence.forwards == 2
        assert not any(layer._forward_hooks for layer in made.as_module().modules())

    def test_a_single_model_has_none(self, images):
        assert member_layers(bound(tiny.Net())) == ()
        with pytest.raises(ModelError, match=r"Net is a single model\. Leave it out, or name several: ensemble:"):
            EnsembleDisagreement()(Evidence(Classifier(tiny.Net().eval()), images))
