"""The harness keeps the right point, counts exactly, and believes nobody."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from tests.oracles import CLASSES, SHAPE, Bowl, Plane, images

from demur.attacks.core.attack_state import Trouble
from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.minimal_norm import FMN
from demur.attacks.pgd import PGD
from demur.classifier import BoundClassifier
from demur.randomness import Keys

ROWS = 40


def setting(oracle=None, rows=ROWS):
    oracle = (oracle or Bowl()).double().eval()
    classifier = BoundClassifier(oracle, classes=CLASSES, input_shape=SHAPE)
    x = images(oracle.float(), rows).double()
    oracle.double()
    y = torch.full((rows,), oracle.label)
    return Objective(classifier), x, y, Keys.of(0, [str(i) for i in range(rows)], "test")


@dataclass(frozen=True)
class Jump:
    """Moves every row by the same amount at each step, whatever the ball."""

    norm: ClassVar[str] = "linf"
    needs: ClassVar[str] = "gradient"
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "cross_entropy"
    sentence: ClassVar[str] = ""
    by: float
    eps: float | None = 0.1
    steps: int = 3

    def start(self, state, restart):
        return state

    def advance(self, state, seen):
        return state.at(state.x + self.by)


@pytest.mark.parametrize("keep", ["first", "worst", "nearest"])
@pytest.mark.parametrize("attack", [PGD(eps=0.08, steps=7), FMN(steps=7)], ids=repr)
def test_results_do_not_depend_on_batch_size_or_order(attack, keep):
    objective, x, y, keys = setting()
    whole = run(attack, objective, x, y, keys, keep=keep, batch=64)
    small = run(attack, objective, x, y, keys, keep=keep, batch=7)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    mixed = run(attack, objective, x[order], y[order], keys.rows(order.tolist()), keep=keep, batch=16)
    for name in ("fooled", "step", "forwards", "backwards", "troubles"):
        assert torch.equal(getattr(whole, name), getattr(small, name))
        assert torch.equal(getattr(whole, name)[order], getattr(mixed, name))
    torch.testing.assert_close(whole.x, small.x, rtol=0, atol=1e-9)
    torch.testing.assert_close(whole.x[order], mixed.x, rtol=0, atol=1e-9)


def test_every_pass_is_counted():
    class Counting(Objective):
        rows = 0

        def logits(self, x):
            self.rows += len(x)
            return super().logits(x)

        def exact(self, x):
            self.rows += len(x)
            return super().exact(x)

        def climb(self, x, y, target=None):
            self.rows += len(x)
            return super().climb(x, y, target)

    _, x, y, keys = setting()
    objective = Counting(BoundClassifier(Bowl().double().eval(), classes=CLASSES, input_shape=SHAPE))
    outcome = run(PGD(eps=0.08, steps=9), objective, x, y, keys, keep="first", batch=16)
    assert int(outcome.forwards.sum()) == objective.rows


def test_full_walks_cost_the_floor_and_early_exits_cost_less():
    objective, x, y, keys = setting()
    worst = run(PGD(eps=0.08, steps=9), objective, x, y, keys, keep="worst", batch=16)
    first = run(PGD(eps=0.08, steps=9), objective, x, y, keys, keep="first", batch=16)
    assert torch.all(worst.backwards == 9)
    assert torch.all((worst.forwards >= 11) & (worst.forwards <= 12))
    assert torch.all(first.backwards[first.fooled] <= 9)
    assert first.backwards.sum() < worst.backwards.sum()
    assert torch.equal(first.step[first.fooled] + 1, first.backwards[first.fooled].clamp(max=10).long()) or torch.all(
        first.backwards[first.fooled] <= first.step[first.fooled] + 1
    )


def test_rows_wrong_before_the_attack_are_not_attacked():
    objective, x, y, keys = setting()
    y = y.clone()
    y[:5] = 1 - y[:5]
    outcome = run(PGD(eps=0.02, steps=5), objective, x, y, keys, keep="first", batch=16)
    assert outcome.fooled[:5].all()
    assert torch.all(outcome.linf[:5] == 0)
    assert torch.all(outcome.forwards[:5] == 1)
    assert torch.all(outcome.backwards[:5] == 0)
    assert torch.all(outcome.step[:5] == 0)


def test_a_point_outside_the_ball_is_refused():
    objective, x, y, keys = setting(Plane())
    outcome = run(Jump(by=0.09), objective, x, y, keys, keep="worst", batch=16)
    refused = (outcome.troubles & int(Trouble.OUTSIDE)) > 0
    assert refused.any()
    assert torch.equal(outcome.x[refused], x[refused])
    assert torch.all(outcome.linf <= 0.1 + 1e-6)
    assert torch.all((outcome.x >= 0) & (outcome.x <= 1))


def test_a_gradient_that_is_zero_or_not_finite_is_told():
    class Flat(torch.nn.Module):
        def forward(self, x):
            z = x.flatten(1).sum(dim=1) * 0
            return torch.stack([z, z + 2], dim=1)

    class Broken(torch.nn.Module):
        def forward(self, x):
            z = (x.flatten(1).sum(dim=1) * 0).sqrt()
            return torch.stack([z, z + 2], dim=1)

    x, y = torch.full((4, *SHAPE), 0.5), torch.ones(4, dtype=torch.long)
    keys = Keys.of(0, list("abcd"), "")
    for module, trouble in ((Flat(), Trouble.ZERO_GRADIENT), (Broken(), Trouble.NONFINITE_GRADIENT)):
        objective = Objective(BoundClassifier(module.eval(), classes=CLASSES, input_shape=SHAPE))
        outcome = run(PGD(eps=0.1, steps=2), objective, x, y, keys, batch=2)
        assert torch.all(outcome.troubles & int(trouble) == int(trouble))
        assert not outcome.fooled.any()


def test_the_kept_point_is_worst_over_the_walk_not_the_last():
    """A state that overshoots the plane of highest loss must return the best point it met."""
    objective, x, y, keys = setting(Bowl())
    far = run(Jump(by=0.03, eps=None, steps=12), objective, x, y, keys, keep="worst", batch=16)
    for steps in range(1, 13):
        along = x + 0.03 * steps
        inside = ((along >= 0) & (along <= 1)).flatten(1).all(dim=1) & ((far.troubles & int(Trouble.OUTSIDE)) == 0)
        loss = objective.loss(objective.answer(along, y), y)
        assert torch.all(loss[inside] <= far.loss_kept[inside] + 1e-5)
