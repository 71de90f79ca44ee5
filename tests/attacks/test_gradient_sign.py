"""BIM and MI-FGSM, step by step, against loops that copy the definition."""

import pytest
import torch
from tests.attacks.worst_points import classifier_of, curved, walled
from tests.oracles import SHAPE, Plane

from demur.attacks.core.attack_state import AttackState, Output
from demur.attacks.core.harness import run
from demur.attacks.core.losses import margin
from demur.attacks.core.objective import Objective
from demur.attacks.gradient_sign import BIM, MIFGSM
from demur.errors import InputError
from demur.randomness import Keys

ROWS = 6


def gradient_at(oracle, x, label):
    leaf = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(oracle(leaf[None]), torch.tensor([label]))
    return torch.autograd.grad(loss, leaf)[0]


def moved(x, origin, direction, stride, eps, norm):
    """One step of one image, pixel by pixel for L∞; for L2, the walls are left out of the direction first."""
    if norm == "linf":
        target = x + stride * direction.sign()
        return torch.maximum(torch.minimum(target, origin + eps), origin - eps).clamp(0, 1)
    free = direction.clone().flatten()
    for k, place in enumerate(x.flatten().tolist()):
        if (place <= 0 and free[k] < 0) or (place >= 1 and free[k] > 0):
            free[k] = 0
    delta = x + stride * (free / free.norm()).view_as(x) - origin
    return (origin + delta * min(1.0, eps / float(delta.norm()))).clamp(0, 1)


def walk_of(attack, oracle, x, decay, stride):
    """Every point of one image's state."""
    points, velocity = [x], torch.zeros_like(x)
    for _ in range(attack.steps):
        gradient = gradient_at(oracle, points[-1], oracle.label)
        velocity = decay * velocity + gradient / gradient.abs().sum()
        points.append(moved(points[-1], x, velocity, stride, attack.eps, attack.norm))
    return points


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("make", [Plane, curved], ids=["flat", "curved"])
@pytest.mark.parametrize(
    ("attack", "decay", "share"),
    [
        (BIM(eps=0.3), 0.0, 1.25 / 10),
        (BIM(eps=0.1, steps=4, step=0.07), 0.0, 0.7),
        (MIFGSM(eps=0.3), 1.0, 1 / 10),
        (MIFGSM(eps=0.1, steps=7, step=0.04, decay=0.6), 0.6, 0.4),
    ],
    ids=repr,
)
def test_each_step_is_the_one_of_the_paper(attack, decay, share, make, norm):
    attack = type(attack)(**{**vars(attack), "norm": norm})
    oracle = make().double()
    x = walled(make(), ROWS).double()
    objective, y = Objective(classifier_of(oracle, torch.float64)), torch.full((ROWS,), oracle.label)
    keys = Keys.of(0, [str(row) for row in range(ROWS)], "steps")
    outcome = run(attack, objective, x, y, keys, keep="worst", batch=4, trace=True)
    for row in range(ROWS):
        points = torch.stack(walk_of(attack, oracle, x[row], decay, share * attack.eps))
        label = y[row].expand(len(points))
        loss = objective.loss(objective.answer(points, label), label)
        torch.testing.assert_close(outcome.trace[row].double(), loss[:-1], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(outcome.x[row], points[loss.argmax()], rtol=0, atol=1e-6)


def test_momentum_adds_gradients_of_l1_length_one():
    attack = MIFGSM(eps=0.3, decay=0.5)
    x = torch.full((2, *SHAPE), 0.5)
    given = AttackState(
        x=x, y=torch.zeros(2).long(), origin=x, eps=torch.full((2,), 0.3), seed=torch.zeros(2).long(), logits=x
    )
    gradient = torch.linspace(-2, 3, 32).view_as(x)
    seen = Output(logits=x, loss=x, gradient=gradient, jacobian=x, fooled=x, step=torch.zeros(2).long())
    once = attack.advance(attack.start(given, 0), seen)
    unit = gradient / gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(once.velocity, unit)
    torch.testing.assert_close(attack.advance(once, seen).velocity, 1.5 * unit)


def test_a_gradient_too_short_to_be_squared_still_says_where_to_go():
    """The square of a gradient 1e-24 long is zero in single precision: its direction is as good as any."""
    oracle = Plane(sharpness=9.0)
    x = 0.2 * walled(oracle, ROWS) * (oracle.normal < 0).view(1, 1, 4, 4)
    objective = Objective(classifier_of(oracle), lambda evidence, y: 1e-24 * margin(evidence.logits, y))
    y = torch.zeros(ROWS, dtype=torch.long)
    lengths = objective.climb(x, y)[1].flatten(1).norm(dim=1)
    assert torch.all((lengths > 0) & (lengths < 1e-20))
    keys = Keys.of(0, [str(row) for row in range(ROWS)], "short")
    for attack in (BIM(eps=0.5, norm="l2"), MIFGSM(eps=0.5, norm="l2"), MIFGSM(eps=0.5)):
        outcome = run(attack, objective, x, y, keys, keep="worst", batch=4)
        size = outcome.l2 if attack.norm == "l2" else outcome.linf
        assert torch.all(size > 0.45), attack


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: BIM(eps=8), "Did you mean 8/255"),
        (lambda: BIM(eps=0.1, step=-1.0), "positive"),
        (lambda: MIFGSM(eps=0.1, decay=0.0), "decay"),
        (lambda: MIFGSM(eps=0.1, steps=0), "at least 1"),
    ],
)
def test_a_hyper_parameter_out_of_range_is_refused(build, words):
    with pytest.raises(InputError, match=words):
        build()
