"""Each attack against worst points known in closed form, flat and curved."""

import pytest
import torch
from tests.oracles import CLASSES, SHAPE, Bowl, Plane, images

from demur.attacks.apgd import APGD, APGDT
from demur.attacks.core.harness import run
from demur.attacks.core.losses import cross_entropy
from demur.attacks.core.objective import Objective
from demur.attacks.external.callable_attack import ByPath
from demur.attacks.external.external import run_external
from demur.attacks.external.libraries import ART, Foolbox, Torchattacks
from demur.attacks.gradient_sign import BIM, FGSM, MIFGSM
from demur.attacks.minimal_norm import CW, DDN, FMN, DeepFool
from demur.attacks.noise import Noise
from demur.attacks.pgd import PGD
from demur.attacks.spatial import Spatial
from demur.attacks.square import Square
from demur.classifier import BoundClassifier
from demur.errors import InputError, UnknownNameError
from demur.randomness import Keys
from demur.registry import parse

EPS = 0.08
ORACLES = [Plane(), Bowl()]
IN_A_BALL = [
    PGD(eps=EPS),
    PGD(eps=EPS, steps=20, step=EPS / 6),
    PGD(eps=EPS, loss="margin"),
    APGD(eps=EPS, steps=30),
    APGD(eps=EPS, steps=30, loss="dlr"),
    APGDT(eps=EPS, steps=30),
    BIM(eps=EPS, steps=20),
    MIFGSM(eps=EPS, steps=20, decay=0.5),
]
NEAREST = [
    FMN(steps=100, step=1.0),
    FMN(steps=200, step=0.3),
    FMN(norm="l2"),
    DDN(init_norm=0.2),
    DeepFool(),
    CW(),
]
BLIND = [Noise(eps=EPS), Square(eps=EPS, steps=200), Spatial(steps=20)]
ELSEWHERE = [
    ByPath(path="tests.attacks.test_attacks:steepest", eps=EPS),
    Foolbox(attack=parse("LinfPGD(rel_stepsize=0.1)"), eps=EPS),
    Torchattacks(attack=parse("PGD(steps=20)"), eps=EPS),
    ART(attack=parse("ProjectedGradientDescentPyTorch(max_iter=20)"), eps=EPS),
]


def attack_all(attack, oracle, keep, rows=48, batch=16):
    x = images(oracle, rows)
    y = torch.full((rows,), oracle.label)
    objective = Objective(BoundClassifier(oracle.eval(), classes=CLASSES, input_shape=SHAPE), attack.loss)
    keys = Keys.of(0, [str(i) for i in range(rows)], repr(attack))
    return x, y, run(attack, objective, x, y, keys, keep=keep, batch=batch)


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("attack", IN_A_BALL, ids=repr)
def test_an_attack_finds_the_worst_point_of_its_ball(attack, oracle):
    x, y, outcome = attack_all(attack, oracle, "worst")
    best = oracle(oracle.worst(x, EPS))
    reached = cross_entropy(outcome.logits, y)
    possible = cross_entropy(best, y)
    assert torch.all(reached <= possible + 1e-5)
    assert torch.all(reached >= possible - 0.01 * possible.abs() - 1e-3)


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("attack", IN_A_BALL, ids=repr)
def test_first_success_is_found_exactly_where_the_ball_reaches_the_other_class(attack, oracle):
    x, y, outcome = attack_all(attack, oracle, "first")
    z = oracle(oracle.worst(x, EPS))
    reachable = z.argmax(dim=1) != y
    clear = (z[:, 0] - z[:, 1]).abs() > 0.02
    assert 0 < reachable.float().mean() < 1, "the oracle must be neither hopeless nor trivial"
    assert torch.equal(outcome.fooled[clear], reachable[clear])
    assert torch.equal(outcome.x[~outcome.fooled], x[~outcome.fooled])


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda o: type(o).__name__)
def test_fgsm_is_one_step_along_the_sign_of_the_gradient(oracle):
    attack = FGSM(eps=EPS)
    x, y, outcome = attack_all(attack, oracle, "worst")
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(oracle(leaf), y, reduction="sum"), leaf)
    step = (x + EPS * gradient.sign()).clamp(0, 1)
    higher = cross_entropy(oracle(step), y) >= cross_entropy(oracle(x), y)
    expected = torch.where(higher[:, None, None, None], step, x)
    torch.testing.assert_close(outcome.x, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("attack", NEAREST, ids=repr)
def test_a_minimal_attack_finds_the_distance_to_the_boundary(attack, oracle):
    x, _, outcome = attack_all(attack, oracle, "nearest")
    exact = oracle.nearest(x, attack.norm)
    found = outcome.linf if attack.norm == "linf" else outcome.l2
    inside = (oracle.nearest_in_box(x, attack.norm) - exact).abs() < 1e-4
    assert inside.sum() > 10
    assert outcome.fooled.all()
    assert torch.all(found[inside] >= exact[inside] - 1e-5)
    assert torch.all(found[inside] <= 1.02 * exact[inside] + 1e-3)


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("attack", BLIND, ids=repr)
def test_an_attack_without_gradients_finds_something_worse_and_nothing_impossible(attack, oracle):
    x, y, outcome = attack_all(attack, oracle, "worst")
    clean = cross_entropy(oracle(x), y)
    assert torch.all(outcome.backwards == 0)
    assert (cross_entropy(outcome.logits, y) > clean).float().mean() > 0.5
    if attack.eps is not None:
        assert torch.all(cross_entropy(outcome.logits, y) <= cross_entropy(oracle(oracle.worst(x, EPS)), y) + 1e-5)


def steepest(model, x, y):
    """Sign ascent, as somebody else would write it."""
    found = x
    for _ in range(40):
        leaf = found.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(model(leaf), y).sum(), leaf)
        found = (leaf.detach() + EPS / 10 * gradient.sign()).clamp(x - EPS, x + EPS).clamp(0, 1)
    return found


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("attack", ELSEWHERE, ids=repr)
def test_an_attack_from_elsewhere_is_held_to_the_same_worst_points(attack, oracle):
    if type(attack) is not ByPath:
        pytest.importorskip(type(attack).__name__.lower())
    x, y = images(oracle, 24), torch.full((24,), oracle.label)
    objective = Objective(BoundClassifier(oracle.eval(), classes=CLASSES, input_shape=SHAPE), attack.loss)
    keys = Keys.of(0, [str(i) for i in range(24)], repr(attack))
    outcome = run_external(attack, objective, x, y, keys, keep="worst", batch=16)
    reached, possible = cross_entropy(outcome.logits, y), cross_entropy(oracle(oracle.worst(x, EPS)), y)
    assert torch.all(reached <= possible + 1e-5)
    assert torch.all(reached >= possible - 0.02 * possible.abs() - 1e-3)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: PGD(eps=8), "Did you mean 8/255"),
        (lambda: PGD(eps=0.0), "must lie in"),
        (lambda: FGSM(eps=-0.1), "must lie in"),
        (lambda: PGD(eps=0.1, steps=0), "at least 1"),
        (lambda: PGD(eps=0.1, step=0.0), "positive"),
        (lambda: FMN(growth=1.0), "growth"),
    ],
)
def test_a_hyper_parameter_out_of_range_is_refused(build, words):
    with pytest.raises(InputError, match=words):
        build()


def test_an_unknown_loss_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="cross_entropy"):
        PGD(eps=0.1, loss="crossentropy")
