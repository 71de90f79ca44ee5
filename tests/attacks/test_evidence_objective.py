"""Losses and successes of one's own, read off the evidence of images, against closed forms."""

import math

import pytest
import torch
from tests.oracles import CLASSES, SHAPE, Bowl, Plane, images
from torch import nn

from demur.attacks import APGD, FMN, PGD, Ensemble, Ray, Square
from demur.attacks.core.attack_state import Trouble
from demur.attacks.core.objective import Objective
from demur.attacks.external.callable_attack import FunctionAttack
from demur.classifier import BoundClassifier
from demur.errors import InputError, ModelError
from demur.evidence import Evidence
from demur.randomness import Keys

EPS, ROWS, THRESHOLD = 0.08, 40, 0.2
CLEAR = math.log((1 - THRESHOLD) / THRESHOLD)
"""The lead, in logits of two classes, from which the largest probability is at least 1 − THRESHOLD."""


class Steep(Bowl):
    """The bowl with answers that are surer."""

    def forward(self, x):
        return 15 * super().forward(x)


def sure(evidence, y):
    """Wrong, and an uncertainty of at most THRESHOLD by msp: the wrong class claims more than the label and 1 − it."""
    p = evidence.logits.double().softmax(dim=1)
    other = p.scatter(1, y[:, None], 0.0).amax(dim=1)
    return other - p.gather(1, y[:, None])[:, 0].clamp(min=1 - THRESHOLD)


def setting(oracle, rows=ROWS, dtype=torch.float32, **named):
    classifier = BoundClassifier(oracle.to(dtype).eval(), classes=CLASSES, input_shape=SHAPE)
    x, y = images(type(oracle)(), rows).to(dtype), torch.full((rows,), oracle.label)
    return Objective(classifier, success=sure, **named), x, y, Keys.of(0, [str(k) for k in range(rows)], "own")


def reachable(oracle, x, eps=EPS):
    """Which rows have a point in their ball that succeeds, but for those too near to say."""
    z = oracle(oracle.worst(x, eps))
    excess = (z[:, 1] - z[:, 0]) * (1 - 2 * oracle.label) - CLEAR
    return excess > 0, excess.abs() > 0.05


@pytest.mark.parametrize("attack", [PGD(eps=EPS), APGD(eps=EPS, steps=30), Square(eps=EPS, steps=400)], ids=repr)
@pytest.mark.parametrize("oracle", [Plane, Steep], ids=lambda oracle: oracle.__name__)
@pytest.mark.parametrize("named", [{}, {"loss": "margin"}], ids=str)
def test_a_guard_is_passed_exactly_where_the_worst_point_passes_it(oracle, attack, named):
    oracle = oracle()
    objective, x, y, keys = setting(oracle, **named)
    outcome = attack.execute(objective, x, y, keys, batch=16)
    expected, plain = reachable(oracle, x)
    assert 0 < expected[plain].float().mean() < 1
    assert not outcome.fooled[plain & ~expected].any()
    if isinstance(attack, Square) and isinstance(oracle, Bowl):  # it stays at the corners, and misses what lies inside
        assert outcome.fooled[expected & plain].float().mean() > 0.7
    else:
        assert torch.equal(outcome.fooled[plain], expected[plain])
    wrong = attack.execute(Objective(objective.classifier), x, y, keys, batch=16).fooled
    assert int(wrong.sum()) > int(outcome.fooled.sum())


@pytest.mark.parametrize("oracle", [Plane, Steep], ids=lambda oracle: oracle.__name__)
def test_the_worst_point_is_that_of_the_loss(oracle):
    oracle = oracle()
    objective, x, y, keys = setting(oracle, dtype=torch.float64)
    outcome = PGD(eps=EPS).execute(objective, x, y, keys, keep="worst", batch=16)
    best = objective.answer(oracle.worst(x, EPS), y).loss
    torch.testing.assert_close(outcome.loss_kept, best.float(), rtol=1e-3, atol=1e-3)
    assert torch.all(outcome.loss_kept >= outcome.loss_start)
    assert (outcome.loss_kept > outcome.loss_start + 0.1).sum() > 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_ray_stops_where_the_margin_crosses_zero(dtype):
    oracle = Plane()
    objective, x, y, keys = setting(oracle, dtype=dtype)
    outcome = Ray(tolerance=1e-6).execute(objective, x, y, keys, batch=16)
    exact = ((CLEAR - oracle(x)[:, 1]) / oracle.normal.norm(p=1)).detach()
    inside = exact < 0.1
    assert inside.sum() > 5
    torch.testing.assert_close(outcome.linf[inside], exact[inside], rtol=0, atol=5e-6)
    assert torch.all(outcome.fooled[inside])


def test_a_minimal_perturbation_is_that_which_passes():
    oracle = Plane()
    objective, x, y, keys = setting(oracle)
    found = FMN(steps=100, step=1.0).execute(objective, x, y, keys)
    exact = ((CLEAR - oracle(x)[:, 1]) / oracle.normal.norm(p=1)).detach()
    inside = exact < 0.1
    assert torch.all(found.fooled[inside])
    assert torch.all(found.linf[inside] >= exact[inside] - 1e-5)
    assert torch.all(found.linf[inside] <= 1.03 * exact[inside] + 1e-3)


def test_an_ensemble_breaks_what_can_pass():
    oracle = Plane()
    objective, x, y, keys = setting(oracle)
    outcome = Ensemble(eps=EPS, preset="quick").execute(objective, x, y, keys)
    expected, plain = reachable(oracle, x)
    broke = torch.tensor([stage is not None for stage in outcome.extra["stage"]])
    assert torch.equal(broke[plain], expected[plain])


def test_an_external_attack_is_judged_by_ones_own_success():
    oracle = Plane()
    objective, x, y, keys = setting(oracle)
    outcome = FunctionAttack(function=lambda model, x, y: oracle.worst(x, EPS), eps=EPS).execute(objective, x, y, keys)
    expected, plain = reachable(oracle, x)
    assert torch.equal(outcome.fooled[plain], expected[plain])


def test_what_succeeds_by_little_is_confirmed_in_float64():
    """A margin that float64 does not uphold counts for nothing, and one that is clear is not evaluated again."""
    oracle = Plane()
    reference, x, y, keys = setting(oracle, rows=6)

    def doubtful(evidence, y):
        exact = evidence.images.dtype == torch.float64
        return evidence.logits[:, 0] * 0 + (-1.0 if exact else 3e-5)

    for scale, confirmed in ((1.0, False), (0.01, True)):
        objective = Objective(reference.classifier, "margin", doubtful, scale=scale)
        outcome = FunctionAttack(function=lambda model, x, y: x + 0.001, eps=EPS).execute(
            objective, x, y, keys, keep="first"
        )
        assert torch.all(outcome.fooled)  # every clean image succeeds already, and costs no more than its forward
        moved = Objective(
            reference.classifier, "margin", lambda e, y, f=doubtful, x=x: f(e, y) - 1.0 * _at(e, x), scale=scale
        )
        outcome = FunctionAttack(function=lambda model, x, y: x + 0.001, eps=EPS).execute(
            moved, x, y, keys, keep="first"
        )
        assert torch.all(outcome.fooled) == confirmed
        assert torch.all((outcome.troubles & int(Trouble.UNCONFIRMED) > 0) == (not confirmed))


def _at(evidence, x):
    """1 where an image is one of the originals."""
    return (torch.cdist(evidence.images.flatten(1).double(), x.flatten(1).double()).amin(dim=1) < 1e-7).double()


class Headed(nn.Module):
    """Features by one layer that bends, and a linear head."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.body, self.head = nn.Linear(16, 6), nn.Linear(6, 3)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) / 2

    def forward(self, x):
        return self.head(torch.tanh(self.body(x.flatten(1))))


def distance(evidence, y):
    """Near the origin of the features, as a guard by distance would want it, and wrong."""
    wrong = evidence.logits.scatter(1, y[:, None], -torch.inf).amax(dim=1) - evidence.logits.gather(1, y[:, None])[:, 0]
    return torch.minimum(wrong, 1.2 - evidence.features.square().sum(dim=1).sqrt())


def test_features_are_read_and_followed_by_the_gradient():
    classifier = BoundClassifier(Headed().double().eval(), classes=("a", "b", "c"), input_shape=SHAPE)
    x = torch.rand(30, *SHAPE, generator=torch.Generator().manual_seed(4)).double()
    y = classifier(x).argmax(dim=1)
    objective = Objective(classifier, success=distance, features=True)
    answer, gradient = objective.climb(x, y)
    step = 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).double()
    rise = objective.answer(x + step, y).loss - objective.answer(x - step, y).loss
    torch.testing.assert_close((gradient * 2 * step).flatten(1).sum(dim=1), rise, rtol=1e-4, atol=1e-10)
    assert torch.equal(answer.margin, answer.loss)
    outcome = PGD(eps=0.3, steps=30).execute(objective, x, y, Keys.of(0, [str(k) for k in range(30)], "own"))
    assert outcome.fooled.any()
    features = classifier.features(outcome.x[outcome.fooled])
    assert torch.all(features.norm(dim=1) < 1.2)
    assert torch.all(classifier(outcome.x).argmax(dim=1)[outcome.fooled] != y[outcome.fooled])


@pytest.mark.parametrize("loss", [None, "cross_entropy"])
def test_one_pass_gives_logits_and_features(loss):
    module, passes = Headed().eval(), []
    classifier = BoundClassifier(module, classes=("a", "b", "c"), input_shape=SHAPE)
    x, y = torch.rand(4, *SHAPE), torch.zeros(4, dtype=torch.long)
    module.register_forward_hook(lambda _m, _i, out: passes.append(len(out)))
    answer, gradient = Objective(classifier, loss, distance, features=True).climb(x, y)
    assert passes == [4]
    torch.testing.assert_close(answer.margin, distance(Evidence(classifier, x), y).to(answer.margin))
    if loss is not None:
        expected = classifier.loss_gradient(x, lambda z: nn.functional.cross_entropy(z, y, reduction="none"))[1]
        torch.testing.assert_close(gradient, expected)


def test_a_target_steers_the_loss_and_a_loss_of_ones_own_has_none():
    oracle = Plane()
    objective, x, y, keys = setting(oracle)
    with pytest.raises(InputError, match="no target"):
        PGD(eps=EPS).execute(objective, x, y, keys, target=1 - y)
    steered = Objective(objective.classifier, "margin", sure)
    towards = PGD(eps=EPS).execute(steered, x, y, keys, target=1 - y)
    away = PGD(eps=EPS).execute(steered, x, y, keys)
    assert torch.equal(towards.fooled, away.fooled)


def flag(evidence, y):
    return evidence.logits.argmax(dim=1) != y


def cut(evidence, y):
    return evidence.logits.detach()[:, 0]


def scalar(evidence, y):
    return evidence.logits.mean()


@pytest.mark.parametrize(
    ("own", "error", "words"),
    [
        (flag, InputError, "not a flag, but by how much"),
        (scalar, InputError, "one number per row"),
        (cut, ModelError, "autograd can follow"),
    ],
)
def test_a_function_that_is_no_margin_is_refused(own, error, words):
    reference, x, y, keys = setting(Plane())
    with pytest.raises(error, match=words):
        PGD(eps=EPS).execute(Objective(reference.classifier, success=own), x, y, keys)


def test_a_scale_must_be_a_size():
    with pytest.raises(InputError, match="`scale`"):
        Objective(setting(Plane())[0].classifier, success=sure, scale=0.0)


class Narrow(Plane):
    """Fails on more than four images at once."""

    def forward(self, x):
        if len(x) > 4:
            raise RuntimeError("too many")
        return super().forward(x)


def test_a_batch_that_fails_is_climbed_by_halves_towards_the_same_targets():
    models = [BoundClassifier(net().eval(), classes=CLASSES, input_shape=SHAPE) for net in (Narrow, Plane)]
    x, y = images(Plane(), 12), torch.zeros(12, dtype=torch.long)
    for target in (None, torch.tensor([1, 0] * 6)):
        halved, whole = (Objective(model, "margin").climb(x, y, target) for model in models)
        torch.testing.assert_close(halved[1], whole[1])
        torch.testing.assert_close(halved[0].logits, whole[0].logits)
