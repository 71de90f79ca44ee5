"""A guarded classifier: what passes, by the code of the run-time guard, and what autograd follows."""

import math
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from tests.attacks.guarded.linear_guards import EPS, SLOPE, Sealed, Tilt, keys, setting
from tests.oracles import CLASSES, SHAPE, Plane
from torch import nn

from demur.attacks.core.objective import Objective
from demur.attacks.guarded.attackers import _passes, attack_guard
from demur.attacks.guarded.guard_objective import GuardLoss, without
from demur.attacks.guarded.guarded_classifier import GuardedClassifier
from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.evidence import Evidence
from demur.policies import ACCEPT_ALL
from demur.signals import MSP, TTA, Entropy


def test_success_is_positive_exactly_where_the_answer_is_wrong_and_given():
    guarded, x, _ = setting({"msp": MSP(), "tilt": Tilt()}, {"msp": 0.2, "tilt": 9.0})
    x = torch.cat([x, Plane().worst(x, 0.1), Plane().worst(x, 0.3)])
    evidence, y = guarded.evidence(x), torch.zeros(len(x), dtype=torch.int64)
    z = guarded.classifier(x).detach().double()
    msp, tilt = 1 - z.softmax(dim=1).amax(dim=1), x.flatten(1).double() @ SLOPE.double()
    accepted = (msp <= 0.2) & (tilt <= 9.0)
    assert torch.equal(guarded.accepts(evidence), accepted)
    expected = (z[:, 1] > z[:, 0]) & accepted
    assert torch.equal(guarded.success(evidence, y) > 0, expected)
    assert 0 < expected.sum() < (z[:, 1] > z[:, 0]).sum()


def test_a_score_at_its_bound_passes_and_an_undefined_one_never_does():
    def level(evidence):
        return torch.tensor([0.0, 1.0, 2.0, math.nan], dtype=torch.float64)

    guarded, x, _ = setting({"level": level}, {"level": 1.0}, rows=4)
    evidence, y = guarded.evidence(x), torch.ones(4, dtype=torch.int64)
    assert guarded.accepts(evidence).tolist() == [True, True, False, False]
    assert (guarded.success(evidence, y) > 1e-4).tolist() == [True, True, False, False]


def test_what_lets_everything_pass_lets_everything_pass():
    guarded, x, y = setting({"msp": MSP()}, {"msp": ACCEPT_ALL})
    assert guarded.accepts(guarded.evidence(x)).all()
    assert (guarded.success(guarded.evidence(x), 1 - y) > 0).all()


@pytest.mark.parametrize(
    ("signals", "bounds", "words"),
    [({}, {}, "one signal at least"), ({"msp": MSP()}, {"entropy": 1.0}, "a bound for each"),
     ({"msp": MSP()}, {"msp": math.inf}, "must be finite")],
)  # fmt: skip
def test_bounds_that_cannot_be_are_refused(signals, bounds, words):
    with pytest.raises(InputError, match=words):
        setting(signals, bounds)


def test_scores_are_those_of_the_signals_and_each_is_computed_once():
    calls = []

    def counted(evidence):
        calls.append(len(evidence))
        return MSP()(evidence)

    guarded, x, y = setting({"msp": counted}, {"msp": 0.2})
    evidence = guarded.evidence(x)
    guarded.success(evidence, y)
    torch.testing.assert_close(guarded.scores(evidence)["msp"], MSP()(Evidence(guarded.classifier, x)).detach())
    assert calls == [len(x)]


@dataclass(frozen=True)
class Choosy:
    """A score whose stand-in, like an estimator of scikit-learn, refuses what is not a number."""

    def __call__(self, evidence):
        return evidence.logits.double()[:, 1]

    def surrogate(self, evidence):
        if not evidence.logits.isfinite().all():
            raise ValueError("Input X contains NaN.")
        return evidence.logits.double()[:, 1]


def test_stand_ins_are_asked_of_finite_answers_alone():
    guarded, x, y = setting({"choosy": Choosy(), "tilt": Tilt()}, {"choosy": 1.0, "tilt": 2.0})
    broken = x.clone()
    broken[3] = math.nan
    evidence = guarded.evidence(broken.requires_grad_())
    found, scores = guarded.surrogates(evidence), guarded.scores(evidence)
    for name, values in found.items():
        assert values[3] == 0
        assert scores[name].isnan().tolist() == [row == 3 for row in range(len(x))]
        torch.testing.assert_close(values[scores[name].isfinite()].detach(), scores[name][scores[name].isfinite()])
    (slope,) = torch.autograd.grad(found["choosy"].sum(), broken)
    assert [bool(row.any()) for row in slope.flatten(1)] == [row != 3 for row in range(len(x))]
    for rule in ("barrier", "orthogonal", "sum"):
        _, gradient = Objective(guarded.classifier, GuardLoss(guarded, rule=rule), guarded.success).climb(broken, y)
        assert gradient.isfinite().all()


@dataclass(frozen=True)
class Unfollowed:
    """One minus the largest share, worked out by NumPy, which no autograd may look on."""

    calls: list = field(default_factory=list)

    def __call__(self, evidence):
        z = evidence.logits.numpy().astype("float64")
        self.calls.append(evidence)
        shares = np.exp(z - z.max(axis=1, keepdims=True))
        return torch.from_numpy(1 - 1 / shares.sum(axis=1))


@dataclass(frozen=True)
class Led(Unfollowed):
    """The same with a stand-in."""

    def surrogate(self, evidence):
        return -evidence.logits.double().softmax(dim=1).amax(dim=1)


def test_a_score_that_autograd_breaks_is_attacked_by_its_answers_and_one_with_a_stand_in_by_that():
    found = {}
    for name, signal in {"followed": MSP(), "led": Led(), "unfollowed": Unfollowed()}.items():
        guarded, x, y = setting({"msp": signal}, {"msp": 0.2})
        found[name] = attack_guard(guarded, x, y, keys(), eps=EPS, steps=10)
        msp = 1 - guarded.classifier(found[name]["joint"].x).detach().double().softmax(dim=1).amax(dim=1)
        torch.testing.assert_close(found[name]["joint"].scores["msp"], msp, rtol=1e-6, atol=1e-7)
    for name, score_free in (("followed", False), ("led", False), ("unfollowed", True)):
        assert found[name]["joint"].zero_score_gradient.all() == score_free
    assert torch.equal(found["led"]["joint"].found, found["followed"]["joint"].found)
    assert torch.equal(found["unfollowed"]["confident"].found, found["followed"]["confident"].found)
    assert torch.equal(found["led"]["joint"].forwards, found["followed"]["joint"].forwards)


def test_scores_beside_a_stand_in_see_no_graph_and_share_the_pass():
    guarded, x, _ = setting({"msp": Led()}, {"msp": 0.2})
    evidence = guarded.evidence(x.clone().requires_grad_())
    assert guarded.surrogates(evidence)["msp"].requires_grad
    assert not guarded.scores(evidence)["msp"].requires_grad
    (seen,) = guarded.signals["msp"].calls
    assert not seen.images.requires_grad
    assert not seen.logits.requires_grad
    assert evidence.spent.tolist() == [[1] * len(x), [0] * len(x)]


def test_a_lack_of_memory_is_no_missing_slope():
    def greedy(evidence):
        if torch.is_grad_enabled():
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return MSP()(evidence)

    guarded, x, _ = setting({"msp": greedy}, {"msp": 0.2})
    with pytest.raises(RuntimeError, match="out of memory"):
        guarded.surrogates(guarded.evidence(x.clone().requires_grad_()))


def test_rows_without_a_finite_answer_are_withheld():
    guarded, x, _ = setting({"level": lambda evidence: torch.zeros(len(evidence))}, {"level": 1.0})
    broken = x.clone()
    broken[3] = math.inf
    evidence = guarded.evidence(broken)
    assert guarded.accepts(evidence).tolist() == [row != 3 for row in range(len(x))]
    assert guarded.scores(evidence)["level"].isnan().tolist() == [row == 3 for row in range(len(x))]


@pytest.mark.parametrize("rule", ["barrier", "orthogonal", "sum"])
def test_the_direction_is_that_of_the_rule(rule):
    guarded, x, y = setting({"tilt": Tilt()}, {"tilt": 2.0})
    loss = GuardLoss(guarded, rule=rule, weight=2.0, eps=0.3)
    normal, tilt = (each / each.norm() for each in (Plane().normal.detach(), -SLOPE))
    steepness = 0.3 * Plane().normal.detach().abs().sum()
    for images, wrong in ((x, False), (Plane().worst(x, 0.3), True)):
        _, gradient = Objective(guarded.classifier, loss, guarded.success).climb(images, y)
        z = guarded.classifier(images)[0].detach()
        mine, other = (tilt, normal) if wrong else (normal, tilt)
        expected = {
            "barrier": normal * 0.22 + tilt * (z[1] - z[0]) / steepness if wrong else normal,
            "orthogonal": mine - other * (mine @ other),
            "sum": normal + 2 * tilt,
        }[rule]
        torch.testing.assert_close(gradient[0].flatten(), expected / expected.norm(), rtol=1e-4, atol=1e-5)


def test_what_is_left_without_another_direction_is_orthogonal_to_it():
    one, other = torch.randn(2, 5, 1, 4, 4)
    assert (without(one, other) * other).flatten(1).sum(dim=1).abs().max() < 1e-4


def test_values_are_of_the_real_scores():
    guarded, x, y = setting({"sealed": Sealed()}, {"sealed": 0.5})
    objective = Objective(guarded.classifier, GuardLoss(guarded), guarded.success)
    still, climbing = objective.answer(x, y), objective.climb(x, y)[0]
    torch.testing.assert_close(climbing.loss, still.loss)
    assert (still.loss < 1).all()


def test_passes_of_scores_are_counted():
    guarded, x, y = setting({"tta": TTA()}, {"tta": 0.2})
    for rule, backwards in (("barrier", 6), ("orthogonal", 6), ("sum", 6)):
        objective = Objective(guarded.classifier, GuardLoss(guarded, rule=rule), guarded.success)
        assert objective.answer(x, y).more.tolist() == [[5, 0]] * len(x)
        assert objective.climb(x, y)[0].more.tolist() == [[5, backwards]] * len(x)


class Drawing(nn.Module):
    """A plane that sees its images through noise which is drawn anew each time."""

    def __init__(self):
        super().__init__()
        self.bend, self.plane = nn.Linear(16, 16), Plane()

    def forward(self, x):
        seen = x.flatten(1) + 3 * torch.randn(len(x), 16)
        return self.plane(torch.tanh(self.bend(seen)).view(-1, *SHAPE))


def test_a_model_that_draws_is_followed_by_the_mean_over_its_draws():
    classifier = BoundClassifier(Drawing().eval(), classes=CLASSES, input_shape=SHAPE)
    guarded = GuardedClassifier(classifier, {"entropy": Entropy()}, {"entropy": 0.3})
    plain, x, y = setting({"entropy": Entropy()}, {"entropy": 0.3})
    assert (_passes(guarded, None), _passes(plain, None), _passes(guarded, 3)) == (8, 1, 3)

    def spread(passes):
        loss = GuardLoss(guarded, passes=passes)
        found = [Objective(classifier, loss, guarded.success).climb(x, y)[1].flatten(1) for _ in range(2)]
        one, other = (each / each.norm(dim=1, keepdim=True) for each in found)
        return float((one * other).sum(dim=1).mean())

    assert spread(16) > spread(1) + 0.05
    more = Objective(classifier, GuardLoss(guarded, passes=4), guarded.success).climb(x, y)[0].more
    assert more[0].tolist() == [3, 7]
    assert attack_guard(guarded, x[:4], y[:4], keys(4), eps=EPS, steps=3)["joint"].found.shape == (4,)


def test_a_folded_copy_is_searched_only_where_the_scores_are_the_same():
    layers = {"conv": nn.Conv2d(1, 3, 3), "norm": nn.BatchNorm2d(3), "relu": nn.ReLU(), "flat": nn.Flatten()}
    net = nn.Sequential(nn.Sequential(OrderedDict(layers)), nn.Linear(12, 2)).eval()
    net[0].norm.running_mean += 0.5
    net[0].norm.running_var *= 3
    classifier = BoundClassifier(net, classes=CLASSES, input_shape=SHAPE)
    assert classifier.folded is not classifier
    x, y = setting({"msp": MSP()}, {"msp": 0.2})[1:]

    def before_the_norm(evidence):
        return evidence.activations("0.conv").flatten(1).double().cpu().mean(dim=1)

    for signal, same in ((MSP(), True), (before_the_norm, False)):
        guarded = GuardedClassifier(classifier, {"signal": signal}, {"signal": 0.3}, layers=("0.conv",))
        objective = Objective(classifier, GuardLoss(guarded), guarded.success, layers=("0.conv",))
        answer = objective.answer(x, y)
        searching = objective.searching(x, y, answer)
        assert (searching is not objective) == same
        torch.testing.assert_close(searching.answer(x, y).loss, answer.loss, rtol=1e-3, atol=1e-3)
