"""Auto-PGD against a loop that copies the paper, and what its targeted form tries."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from tests.attacks.counting_objective import setting
from tests.attacks.mnist_net import needs_shared, robust_mnist
from tests.attacks.test_gradient_sign import moved

from demur.attacks.apgd import APGD, APGDT, _windows
from demur.attacks.core.attack_state import AttackState
from demur.attacks.core.harness import run
from demur.attacks.core.losses import LOSSES, targeted_dlr
from demur.attacks.core.objective import Objective
from demur.errors import InputError, UnknownNameError
from demur.randomness import Keys

EPS = {"linf": 0.15, "l2": 0.29}


def checkpoints(steps):
    """The paper's w_j = ⌈p_j·N⌉ in exact fractions."""
    p = [Fraction(0), Fraction(22, 100)]
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - Fraction(3, 100), Fraction(6, 100)))
    return sorted({math.ceil(share * steps) for share in p if share <= 1})


def projected(x, origin, eps, norm):
    if norm == "linf":
        return torch.maximum(torch.minimum(x, origin + eps), origin - eps).clamp(0, 1)
    delta = x - origin
    return (origin + delta * min(1.0, eps / max(float(delta.norm()), 1e-300))).clamp(0, 1)


def reference(module, loss, start, origin, attack):
    """Losses met by one image on its state, by the paper's algorithm box.

    The check of the step size follows the look at x(w_j), as in the authors' runs, so that going back to the best point
    costs no look.
    """

    def look(x):
        leaf = x.clone().requires_grad_()
        value = loss(module(leaf[None]))[0]
        return value.item(), torch.autograd.grad(value, leaf)[0]

    eps, norm, marks = attack.eps, attack.norm, checkpoints(attack.steps)
    stride, x, before = 2 * eps, start, start
    f, gradient = look(x)
    losses, raised, best = [f], [], (f, x, gradient)
    f_max_then, halved_then, last = f, False, f
    for k in range(attack.steps):
        if k in marks[1:]:
            previous = marks[marks.index(k) - 1]
            few = sum(raised[previous:k]) < 0.75 * (k - previous)
            stuck = not halved_then and best[0] <= f_max_then
            halved_then, f_max_then = few or stuck, best[0]
            if halved_then:
                stride, (last, x, gradient) = stride / 2, best
        z = moved(x, origin, gradient, stride, eps, norm)
        alpha = 0.75 if k else 1.0
        x, before = projected(x + alpha * (z - x) + (1 - alpha) * (x - before), origin, eps, norm), x
        f, gradient = look(x)
        losses.append(f)
        raised.append(f > last)
        last = f
        best = (f, x, gradient) if f > best[0] else best
    return losses


def inner_setting(attack, rows):
    """For L2, images that keep so far from the walls that no ball meets one: there the last bit of a pixel decides."""
    objective, x, _, keys = setting(attack, rows=rows)
    x = 0.3 + 0.4 * x if attack.norm == "l2" else x
    return objective, x, objective.logits(x).argmax(dim=1), keys


def begun(attack, x, y, keys, logits):
    given = AttackState(
        x=x, y=y, origin=x, eps=torch.full((len(x),), attack.eps).to(x), seed=keys.seeds("attack"), logits=logits
    )
    return attack.start(given, 0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr", "margin"])
@pytest.mark.parametrize("steps", [9, 40, 57])
def test_a_walk_is_the_one_of_the_paper(steps, loss, norm):
    attack = APGD(eps=EPS[norm], norm=norm, steps=steps, loss=loss)
    objective, x, y, keys = inner_setting(attack, rows=7)
    module = objective.classifier.as_module()
    start = begun(attack, x, y, keys, objective.logits(x)).x
    outcome = run(attack, objective, x, y, keys, keep="worst", batch=4, trace=True)
    for row in range(len(x)):
        wanted = reference(module, lambda z, r=row: LOSSES[loss](z, y[r : r + 1]), start[row], x[row], attack)
        torch.testing.assert_close(
            outcome.trace[row].double(), torch.tensor(wanted[:-1], dtype=torch.float64), rtol=1e-4, atol=1e-5
        )
        assert outcome.loss_kept[row].item() == pytest.approx(max(wanted), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("steps", [1, 5, 9, 10, 30, 50, 100, 1000])
def test_checkpoints_are_those_of_the_paper(steps):
    marks = checkpoints(steps)
    found = {here: window for here, window in enumerate(_windows(steps)) if window}
    assert found == {here: here - last for last, here in pairwise(marks)}
    assert steps != 100 or list(found) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_restart_of_the_targeted_form_climbs_to_the_next_likeliest_class(norm):
    attack = APGDT(eps=EPS[norm], norm=norm, steps=12, targets=3)
    objective, x, y, keys = inner_setting(attack, rows=5)
    module = objective.classifier.as_module()
    outcome = run(attack, objective, x, y, keys, keep="worst", batch=4, trace=True)
    start = begun(attack, x, y, keys, objective.logits(x)).x
    for row in range(len(x)):
        order = [k for k in module(x[row : row + 1])[0].argsort(descending=True).tolist() if k != y[row]]

        def loss(z, r=row, goal=order[0]):
            return targeted_dlr(z, y[r : r + 1], torch.tensor([goal]))

        wanted = reference(module, loss, start[row], x[row], attack)
        torch.testing.assert_close(
            outcome.trace[row, :12].double(), torch.tensor(wanted[:-1], dtype=torch.float64), rtol=1e-4, atol=1e-5
        )
    assert outcome.trace.isfinite().all()


@pytest.mark.parametrize(("classes", "tried"), [(2, 1), (3, 2), (5, 4)])
def test_no_class_is_tried_twice(classes, tried):
    attack = APGDT(eps=0.02, steps=6, targets=9)
    objective, x, y, keys = setting(attack, classes, wrong=0)
    outcome = run(attack, objective, x, y, keys, keep="worst", batch=5, trace=True)
    assert torch.all(outcome.backwards == 6 * tried)
    assert torch.equal(outcome.trace.isnan(), (torch.arange(54) >= 6 * tried).expand_as(outcome.trace))


def test_a_goal_is_the_only_target():
    attack = APGDT(eps=0.02, steps=6, targets=9)
    objective, x, y, keys = setting(attack, wrong=0)
    goal = (y + 2) % 5
    outcome = run(attack, objective, x, y, keys, batch=5, target=goal)
    assert torch.all(outcome.backwards[~outcome.fooled] == 6)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_trying_every_class_finds_at_least_what_the_untargeted_form_finds(classes):
    attack = APGDT(eps=0.06, steps=30, targets=9)
    objective, x, y, keys = setting(attack, classes, rows=64, wrong=0)
    targeted = run(attack, objective, x, y, keys, batch=16).fooled
    plain = run(APGD(eps=0.06, steps=30, loss="dlr"), objective, x, y, keys, batch=16).fooled
    assert 0 < int(plain.sum()) < 64
    assert int(targeted.sum()) >= int(plain.sum()) - 1


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: APGD(eps=8), InputError, "Did you mean 8/255"),
        (lambda: APGD(eps=0.1, restarts=0), InputError, "restarts"),
        (lambda: APGDT(eps=0.1, targets=0), InputError, "targets"),
        (lambda: APGD(eps=0.1, norm="l1"), UnknownNameError, "l1"),
        (lambda: APGD(eps=0.1, loss="dllr"), UnknownNameError, "dlr"),
    ],
)
def test_a_hyper_parameter_out_of_range_is_refused(build, error, words):
    with pytest.raises(error, match=words):
        build()


@pytest.mark.shared
@needs_shared
def test_a_robust_net_stands_no_better_than_is_known():
    """Robust accuracy of at most 5.3 % at .3, where 40 steps of a fixed size say 30 %."""
    attack = APGD(eps=0.3)
    classifier, x, y = robust_mnist(256)
    keys = Keys.of(0, [str(row) for row in range(len(x))], "mnist")
    outcome = run(attack, Objective(classifier, attack.loss), x, y, keys, batch=128)
    assert float(1 - outcome.fooled.float().mean()) <= 0.053
    assert outcome.forwards.float().mean() < 20
