"""Batch normalisation folded into convolutions: the same function of the images, and only where it is."""

import pytest
import torch
from torch import nn

from demur.attacks.core.objective import Objective
from demur.attacks.pgd import PGD
from demur.attacks.ray import Ray
from demur.classifier import BoundClassifier
from demur.randomness import Keys
from demur.zoo import CompactResNet

SHAPE = (1, 8, 8)
CLASSES = ("a", "b", "c")


class Chain(nn.Module):
    """A stem that can be folded, and a second pair with what a model may do with it on the way to three logits."""

    def __init__(self, way="plain", norm=None):
        super().__init__()
        self.way = way
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 1)
        self.norm = norm or nn.BatchNorm2d(4)
        self.other_norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        maps = self.conv(self.stem_norm(self.stem(x)).relu())
        normed = self.norm(maps)
        match self.way:
            case "read once more":
                normed = normed + maps
            case "norm called twice":
                normed = self.norm(normed)
            case "two norms":
                normed = normed + self.other_norm(maps)
            case "bright images otherwise":
                normed = torch.where(x.mean(dim=(1, 2, 3), keepdim=True) > 0.9, normed + maps, normed)
        return self.head(normed.relu().mean(dim=(2, 3)))


class Shifted(nn.BatchNorm2d):
    """A batch normalisation that does more."""

    def forward(self, x):
        return super().forward(x) + 1


def bound(module):
    """A classifier of fixed weights, whose batch normalisation has something to say."""
    draw = torch.Generator().manual_seed(7)
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, generator=draw)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, generator=draw)
            nn.init.normal_(layer.bias, generator=draw)
            if layer.track_running_stats:
                nn.init.normal_(layer.running_mean, generator=draw)
                nn.init.uniform_(layer.running_var, 0.2, 3, generator=draw)
    return BoundClassifier(module.eval(), classes=CLASSES, input_shape=SHAPE)


def flat():
    """A classifier whose answer hangs on single pixels."""
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 3)
    classifier = bound(nn.Sequential(*layers))
    mean = classifier.logits(images()[0]).mean(dim=0).detach()
    return classifier.altered(lambda module: module[-1].bias.data.sub_(mean), "centred")


def images(rows=24):
    x = Keys.of(0, [str(row) for row in range(rows)], "images").uniform(torch.zeros(rows, *SHAPE), "x")
    return x, torch.arange(rows) % len(CLASSES)


def norms(classifier):
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in classifier.as_module().modules())


@pytest.mark.parametrize(
    ("module", "left"),
    [
        (CompactResNet(1, 3, 8), 0),
        (Chain(), 1),
        (Chain("norm called twice"), 2),
        (Chain("two norms"), 2),
        (Chain(norm=Shifted(4)), 2),
        (Chain(norm=nn.BatchNorm2d(4, track_running_stats=False)), 2),
    ],
)
def test_what_can_be_folded_is_and_it_is_the_same_function_with_the_same_slopes(module, left):
    classifier = bound(module).double
    folded, (x, _) = classifier.folded, images()
    logits, slopes = classifier.loss_gradient(x.double(), lambda z: z[:, 0] - z[:, 1])
    others, other_slopes = folded.loss_gradient(x.double(), lambda z: z[:, 0] - z[:, 1])
    assert norms(folded) == left < norms(classifier)
    torch.testing.assert_close(others, logits, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(other_slopes, slopes, rtol=1e-11, atol=1e-11)


def test_a_model_whose_folded_copy_answers_otherwise_is_not_folded():
    classifier = bound(Chain("read once more"))
    assert classifier.folded is classifier


def test_a_search_stays_with_a_model_whose_copy_answers_real_images_otherwise():
    classifier, (x, _) = bound(Chain("bright images otherwise")), images()
    objective = Objective(classifier)
    assert classifier.folded is not classifier
    y = torch.zeros(len(x), dtype=torch.long)
    assert objective.searching(x, y, objective.answer(x, y)).classifier is classifier.folded
    assert objective.searching(x + 0.9, y, objective.answer(x + 0.9, y)) is objective


@pytest.mark.parametrize("attack", [PGD(eps=0.1, steps=10), Ray()], ids=["pgd", "ray"])
def test_what_a_search_finds_is_answered_by_the_model_itself(attack, monkeypatch):
    classifier, (x, _) = flat(), images()
    y = classifier.logits(x).argmax(dim=1)
    keys = Keys.of(0, [str(row) for row in range(len(x))], "attack")
    assert classifier.folded is not classifier
    asked = []
    with classifier.as_module().register_forward_hook(lambda *_: asked.append(1)):
        found = attack.execute(Objective(classifier), x, y, keys, batch=len(x))
    assert len(asked) <= 7 < found.forwards.max()  # the clean images, the kept points, those moved
    with torch.no_grad():
        answers = classifier.logits(found.x[found.fooled])
    assert found.fooled.sum() > 0
    torch.testing.assert_close(found.logits[found.fooled], answers, rtol=1e-6, atol=1e-6)
    assert not (answers.argmax(dim=1) == y[found.fooled]).any()
    monkeypatch.setattr(Objective, "searching", lambda self, _x, _y, _answer: self)
    plain = attack.execute(Objective(classifier), x, y, keys, batch=len(x))
    assert torch.equal(found.fooled, plain.fooled)
    torch.testing.assert_close(found.linf, plain.linf, rtol=1e-3, atol=1e-5)


def test_what_only_the_copy_answers_wrong_is_no_success(monkeypatch):
    classifier, (x, _) = flat(), images()
    y = classifier.logits(x).argmax(dim=1)
    other = classifier.altered(lambda module: module[-1].weight.data.neg_(), "other")
    monkeypatch.setattr(Objective, "searching", lambda _self, _x, _y, _answer: Objective(other))
    keys = Keys.of(0, [str(row) for row in range(len(x))], "attack")
    found = PGD(eps=1e-4, steps=3).execute(Objective(classifier), x, y, keys, batch=len(x))
    with torch.no_grad():
        wrong = classifier.logits(found.x).argmax(dim=1) != y
    assert torch.equal(found.fooled, wrong)
