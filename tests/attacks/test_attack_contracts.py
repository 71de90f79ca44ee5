"""What holds for every registered attack, whatever its algorithm."""

import pytest
import torch
from tests.attacks.attack_variants import EPS, called, in_a_ball, variants
from tests.attacks.counting_objective import Counting
from torch import nn

from demur.attacks.core.attack_state import Trouble
from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.core.projections import length
from demur.classifier import Classifier
from demur.randomness import Keys

SHAPE = (2, 5, 4)
ROWS = 17
VARIANTS = variants()
IN_A_BALL = in_a_ball()
EXACT = ("fooled", "step", "forwards", "backwards", "troubles")


class Curved(nn.Module):
    """A small smooth net with fixed weights."""

    def __init__(self, classes, dtype):
        super().__init__()
        generator = torch.Generator().manual_seed(classes)
        weights = [torch.randn(24, 40, generator=generator) / 3, torch.randn(classes, 24, generator=generator)]
        self.first, self.last = (nn.Parameter(weight.to(dtype)) for weight in weights)

    def forward(self, x):
        return torch.tanh((x.flatten(1) - 0.5) @ self.first.T) @ self.last.T


def setting(attack, classes=5, dtype=torch.float64, rows=ROWS, wrong=2):
    """An objective, images of which many pixels touch a wall, labels of which the first few are wrong, and keys."""
    module = Curved(classes, dtype).eval()
    objective = Counting(Classifier(module, classes=[str(k) for k in range(classes)], input_shape=SHAPE), attack.loss)
    x = (1.4 * torch.rand(rows, *SHAPE, generator=torch.Generator().manual_seed(1)) - 0.2).clamp(0, 1).to(dtype)
    with torch.no_grad():
        y = module(x).argmax(dim=1)
    y[:wrong] = (y[:wrong] + 1) % classes
    return objective, x, y, Keys.of(0, [str(row) for row in range(rows)], "contracts")


def rules(attack, x, y, outcome, eps=None, goal=None):
    """What must be true of any outcome."""
    delta = outcome.x - x
    assert outcome.x.shape == x.shape
    assert outcome.x.dtype == x.dtype
    assert outcome.x.isfinite().all()
    assert torch.all((outcome.x >= 0) & (outcome.x <= 1))
    if attack.eps is not None:
        radius = torch.full((len(x),), attack.eps) if eps is None else eps
        assert torch.all(length(delta, attack.norm) <= radius + 1e-5)
    torch.testing.assert_close(outcome.linf, length(delta, "linf"))
    torch.testing.assert_close(outcome.l2, length(delta, "l2"))
    answer, first_two = outcome.logits.argmax(dim=1), outcome.logits.topk(2, dim=1).values
    clear = first_two[:, 0] - first_two[:, 1] > 1e-4 * outcome.logits.abs().amax(dim=1)
    reached = answer != y if goal is None else answer == goal
    assert torch.all(reached[outcome.fooled])
    assert torch.equal(outcome.fooled[clear], reached[clear])
    assert not ((outcome.step < 0) & outcome.fooled).any()


@pytest.mark.parametrize("keep", ["first", "worst", "nearest"])
@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_results_obey_the_rules_and_do_not_depend_on_batch_or_order(variant, keep):
    attack = variant[1]
    objective, x, y, keys = setting(attack)
    whole = run(attack, objective, x, y, keys, keep=keep, batch=64)
    rules(attack, x, y, whole)
    assert (int(whole.forwards.sum()), int(whole.backwards.sum())) == (objective.rows, objective.backwards)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
    mixed = run(attack, objective, x[order], y[order], keys.rows(order.tolist()), keep=keep, batch=8)
    for name in EXACT:
        assert torch.equal(getattr(whole, name)[order], getattr(mixed, name)), name
    torch.testing.assert_close(whole.x[order], mixed.x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_rows_that_are_wrong_already_cost_one_look_and_stay(variant):
    attack = variant[1]
    objective, x, y, keys = setting(attack)
    outcome = run(attack, objective, x, y, keys, batch=8)
    assert outcome.fooled[:2].all()
    assert torch.equal(outcome.x[:2], x[:2])
    assert outcome.forwards[:2].tolist() == [1, 1]
    assert outcome.step[:2].tolist() == [0, 0]
    assert torch.all(outcome.forwards[2:] > 1)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_two_and_three_classes_and_a_last_batch_of_one(variant, dtype, classes):
    attack = variant[1]
    objective, x, y, keys = setting(attack, classes, dtype, rows=9)
    outcome = run(attack, objective, x, y, keys, batch=4)
    rules(attack, x, y, outcome)
    alone = run(attack, objective, x[-1:], y[-1:], keys.rows([8]), batch=4)
    assert bool(alone.fooled[0]) == bool(outcome.fooled[-1])


@pytest.mark.parametrize("variant", IN_A_BALL, ids=called)
def test_each_row_keeps_to_its_own_radius(variant):
    attack = variant[1]
    objective, x, y, keys = setting(attack)
    eps = torch.linspace(0.1, 1.5, ROWS).double() * EPS[attack.norm]
    outcome = run(attack, objective, x, y, keys, keep="worst", batch=8, eps=eps)
    rules(attack, x, y, outcome, eps=eps)
    assert torch.all(length(outcome.x - x, attack.norm) > 0.05 * eps)
    same = run(attack, objective, x, y, keys, keep="worst", batch=8, eps=torch.full((ROWS,), attack.eps))
    torch.testing.assert_close(same.x, run(attack, objective, x, y, keys, keep="worst", batch=8).x)


@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_a_goal_is_reached_or_said_not_to_be(variant):
    attack = variant[1]
    objective, x, y, keys = setting(attack, wrong=0)
    goal = (y + 1 + torch.arange(ROWS) % 3) % 5
    goal[::4] = -1
    outcome = run(attack, objective, x, y, keys, batch=8, target=goal)
    rules(attack, x, y, outcome, goal=goal)
    left = goal < 0
    assert torch.equal(outcome.x[left], x[left])
    assert torch.all(outcome.forwards[left] == 1)
    assert not outcome.fooled[left].any()
    assert torch.all(outcome.forwards[~left] > 1)


@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_a_gradient_of_zero_leaves_the_image_and_is_told(variant):
    attack = variant[1]
    classifier = Classifier(Constant().eval(), classes=["a", "b", "c"], input_shape=SHAPE)
    x, y = torch.full((3, *SHAPE), 0.5), torch.full((3,), 1)
    outcome = run(attack, Objective(classifier, attack.loss), x, y, Keys.of(0, list("abc"), ""), batch=2)
    assert not outcome.fooled.any()
    assert torch.equal(outcome.x, x)
    assert torch.all((outcome.troubles & int(Trouble.ZERO_GRADIENT) > 0) == (attack.needs != "loss"))


@pytest.mark.parametrize("keep", ["first", "worst", "nearest"])
@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_answers_that_are_not_numbers_fool_nobody_and_cost_no_neighbour(variant, keep):
    attack = variant[1]
    objective, x, y, keys = setting(attack, wrong=0)
    module = Sometimes(objective.classifier.module).eval()
    names = objective.classifier.classes
    broken = Objective(Classifier(module, classes=names, input_shape=SHAPE), attack.loss)
    lit = torch.arange(ROWS) % 3 == 0
    x[lit, 0, 0, 0] = 1.0
    x[~lit, 0, 0, 0] = 0.2
    with torch.no_grad():
        y = objective.classifier.module(x).argmax(dim=1)
    outcome = run(attack, broken, x, y, keys, keep=keep, batch=8)
    assert outcome.x.isfinite().all()
    assert not (outcome.fooled & ~outcome.logits.isfinite().all(dim=1)).any()
    sound = run(
        attack, objective, x[~lit], y[~lit], keys.rows((~lit).nonzero().squeeze(1).tolist()), keep=keep, batch=8
    )
    torch.testing.assert_close(outcome.x[~lit], sound.x, rtol=0, atol=1e-7)


class Constant(nn.Module):
    """The same answer to every image, by way of the image."""

    def forward(self, x):
        z = x.flatten(1).sum(dim=1, keepdim=True) * 0
        return z + z.new_tensor([0.0, 2.0, 1.0])


class Sometimes(nn.Module):
    """Another net, whose answer is NaN where the first pixel is nearly white."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        z = self.inner(x)
        return z + torch.where(x[:, :1, 0, 0] > 0.9, torch.nan, 0.0).to(z.dtype)
