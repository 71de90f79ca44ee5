"""Looks, restarts, traces and second opinions: what the core guarantees every attack and whoever runs one."""

import copy
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from tests.attacks.counting_objective import SHAPE, Counting, setting
from torch import nn

from demur.attacks.apgd import APGDT
from demur.attacks.core.attack_state import Trouble
from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.pgd import PGD
from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.evidence import Evidence
from demur.randomness import Keys


@dataclass(frozen=True)
class Watching:
    """Brightens every pixel by `by` at each step and writes down what it was shown."""

    norm: ClassVar[str] = "linf"
    loss: ClassVar[str] = "margin"
    eps: ClassVar[float] = 1.0
    sentence: ClassVar[str] = ""
    needs: str = "gradient"
    by: float = 0.01
    steps: int = 3
    restarts: int = 1
    enough: int = 99
    shown: list = field(default_factory=list)

    def start(self, state, restart):
        candidates = torch.stack([(state.y + 1) % 5, (state.y + 3) % 5], dim=1)
        return state.at(state.x, candidates=candidates)

    def advance(self, state, seen):
        self.shown.append((state, seen))
        return state.at((state.x + self.by).clamp(0, 1), done=seen.step + 1 >= self.enough)


def run_watching(attack, keep="worst", wrong=0, **options):
    objective, x, y, keys = setting(attack, wrong=wrong)
    return objective, x, y, run(attack, objective, x, y, keys, keep=keep, batch=64, **options)


def test_a_loss_and_a_success_of_ones_own_are_climbed_and_asked():
    attack = PGD(eps=0.3, steps=10)
    named, x, y, keys = setting(attack, wrong=0)

    def uncertain(evidence, y):
        return -evidence.logits.softmax(dim=1).gather(1, y[:, None]).squeeze(1)

    def sure_and_wrong(evidence, y):
        p = evidence.logits.softmax(dim=1)
        other = p.scatter(1, y[:, None], 0.0).amax(dim=1)
        return other - p.gather(1, y[:, None])[:, 0].clamp(min=0.6)

    own = Objective(named.classifier, uncertain, sure_and_wrong)
    outcome = run(attack, own, x, y, keys, batch=8, trace=True)
    answer, seen = own.answer(outcome.x, y), Evidence(named.classifier, outcome.x)
    assert torch.equal(outcome.fooled, sure_and_wrong(seen, y) > 1e-5)
    assert torch.equal(outcome.fooled, own.fooled(answer, y))
    torch.testing.assert_close(outcome.loss_kept.double(), uncertain(seen, y))
    easy = run(attack, named, x, y, keys, batch=8)
    assert 0 < int(outcome.fooled.sum()) <= int(easy.fooled.sum())
    assert outcome.backwards.sum() > easy.backwards.sum()
    gradient = own.climb(x, y)[1]
    nudged = x + 1e-5 * gradient
    assert torch.all(own.answer(nudged, y).loss > own.answer(x, y).loss)
    with pytest.raises(InputError, match="no target"):
        run(attack, own, x, y, keys, target=(y + 1) % 5)


def test_only_rows_that_have_not_succeeded_start_again():
    attack = PGD(eps=0.05, steps=6, restarts=3)
    objective, x, y, keys = setting(attack, rows=60, wrong=3)
    first = run(attack, objective, x, y, keys, keep="first", batch=16)
    once = run(PGD(eps=0.05, steps=6), objective, x, y, keys, keep="first", batch=16)
    assert torch.all(first.fooled >= once.fooled)
    assert torch.equal(first.backwards[once.fooled], once.backwards[once.fooled])
    stands = ~first.fooled
    assert 0 < int(stands.sum()) < 57
    assert torch.all(first.backwards[stands] == 18)
    assert torch.all(first.step[stands] == -1)
    worst = run(attack, objective, x, y, keys, keep="worst", batch=16)
    assert torch.all(worst.backwards == 18)
    assert torch.all(worst.loss_kept >= run(PGD(eps=0.05, steps=6), objective, x, y, keys, keep="worst").loss_kept)


def test_restarts_begin_at_different_points():
    attack = PGD(eps=0.05, steps=1, restarts=4)
    objective, x, y, keys = setting(attack, wrong=0)
    trace = run(attack, objective, x, y, keys, keep="worst", trace=True).trace
    assert torch.all(trace.diff(dim=1).abs() > 1e-6)


def test_a_trace_has_the_loss_of_every_look_and_nothing_after_the_last():
    attack = Watching(steps=4, restarts=2)
    objective, x, y, outcome = run_watching(attack, wrong=2, trace=True)
    for k in range(4):
        loss = objective.loss(objective.answer((x + 0.01 * k).clamp(0, 1), y), y).float()
        torch.testing.assert_close(outcome.trace[:, k], loss)
        torch.testing.assert_close(outcome.trace[:, 4 + k], loss)
    assert torch.equal(outcome.loss_start, outcome.trace[:, 0])

    attack = PGD(eps=0.1, steps=9)
    objective, x, y, keys = setting(attack)
    first = run(attack, objective, x, y, keys, batch=8, trace=True)
    assert torch.equal(first.trace.isnan(), torch.arange(9) >= first.backwards[:, None])
    assert run(attack, objective, x, y, keys, batch=8).trace.shape == (len(x), 0)


def test_a_jacobian_is_the_gradient_of_each_candidate_and_is_paid_for():
    attack = Watching(needs="jacobian", steps=2)
    objective, _, _, outcome = run_watching(attack)
    state, seen = attack.shown[-1]
    leaf = state.x.clone().requires_grad_()
    logits = objective.classifier.logits(leaf)
    for k in range(2):
        gap = logits.gather(1, state.candidates[:, k : k + 1]) - logits.gather(1, state.y[:, None])
        (slow,) = torch.autograd.grad(gap.sum(), leaf, retain_graph=True)
        torch.testing.assert_close(seen.jacobian[:, k], slow)
    assert seen.gradient.numel() == 0
    assert torch.all(outcome.backwards == 2 * 2)
    assert outcome.forwards.float().mean() < 2 + 3


def test_looks_without_gradients_cost_no_backward():
    class Blind(Counting):
        def climb(self, x, y, target=None):
            raise AssertionError("a gradient nobody asked for")

        jacobian = climb

    attack = Watching(needs="loss")
    seeing, x, y, keys = setting(attack, wrong=0)
    outcome = run(attack, Blind(seeing.classifier, "margin"), x, y, keys, keep="worst", batch=64)
    assert torch.all(outcome.backwards == 0)
    assert all(seen.gradient.numel() == seen.jacobian.numel() == 0 for _, seen in attack.shown)
    assert not (outcome.troubles & int(Trouble.ZERO_GRADIENT)).any()


def test_a_gradient_that_is_not_finite_is_told_and_shown_as_zero():
    class Kinked(nn.Module):
        """The square root at zero: the gradient of rows whose first pixel is black is infinite there."""

        def forward(self, x):
            z = x[:, 0, 0, 0].sqrt() + x.flatten(1).mean(dim=1)
            return torch.stack([z * 0 + 3, z, -z], dim=1)

    objective = Objective(BoundClassifier(Kinked().eval(), classes=["a", "b", "c"], input_shape=SHAPE), "margin")
    x, y = torch.full((4, *SHAPE), 0.5), torch.zeros(4, dtype=torch.long)
    x[:2, 0, 0, 0] = 0.0
    attack = Watching(steps=1)
    outcome = run(attack, objective, x, y, Keys.of(0, list("abcd"), ""), keep="worst")
    assert (outcome.troubles & int(Trouble.NONFINITE_GRADIENT) > 0).tolist() == [True, True, False, False]
    gradient = attack.shown[-1][1].gradient
    assert gradient.isfinite().all()
    assert torch.all(gradient[:2, 0, 0, 0] == 0)
    assert torch.all(gradient[:, 1] > 0)


class Coarse(nn.Module):
    """Class 1 wins where the mean pixel exceeds .5003; the sum with 4,096 keeps few bits of it in float32."""

    def forward(self, x):
        mean = (x.double().mean(dim=(1, 2, 3)).to(x.dtype) + 4096) - 4096
        return torch.stack([5 * torch.ones_like(mean), 5 + mean - 0.5003], dim=1)


@pytest.mark.parametrize(("mean", "stands"), [(0.50026, False), (0.5004, True)])
def test_a_point_that_fools_in_float32_alone_is_taken_back(mean, stands):
    objective = Objective(BoundClassifier(Coarse().eval(), classes=["a", "b"], input_shape=SHAPE), "margin")
    x, y = torch.full((2, *SHAPE), 0.49), torch.zeros(2, dtype=torch.long)
    attack = Watching(by=mean - 0.49, steps=1, needs="loss")
    outcome = run(attack, objective, x, y, Keys.of(0, list("ab"), ""))
    assert objective.fooled(objective.answer(x + attack.by, y), y).all()
    assert outcome.fooled.tolist() == [stands, stands]
    assert (outcome.troubles & int(Trouble.UNCONFIRMED) > 0).tolist() == [not stands, not stands]
    assert torch.equal(outcome.x, x + attack.by if stands else x)
    assert torch.all(outcome.linf == (outcome.x - x).flatten(1).amax(dim=1))
    assert outcome.forwards.tolist() == [4, 4], "clean, the look, the last point and its float64 check"


class Far(nn.Module):
    """Class 0 never wins; class 2 beats class 1 where it beats class 0 of `Coarse`."""

    def forward(self, x):
        one, two = Coarse()(x).T
        return torch.stack([one - 1, one, two], dim=1)


@pytest.mark.parametrize(("mean", "stands"), [(0.50026, False), (0.5004, True)])
def test_a_target_that_is_reached_in_float32_alone_is_taken_back(mean, stands):
    """Though the label has lost in any precision: to a class that was not asked for."""
    objective = Objective(BoundClassifier(Far().eval(), classes=["a", "b", "c"], input_shape=SHAPE), "margin")
    x, y, goal = torch.full((2, *SHAPE), 0.49), torch.zeros(2, dtype=torch.long), torch.full((2,), 2)
    attack = Watching(by=mean - 0.49, steps=1, needs="loss")
    outcome = run(attack, objective, x, y, Keys.of(0, list("ab"), ""), target=goal)
    assert objective.fooled(objective.answer(x + attack.by, y), y, goal).all()
    assert outcome.fooled.tolist() == [stands, stands]
    assert (outcome.troubles & int(Trouble.UNCONFIRMED) > 0).tolist() == [not stands, not stands]


@pytest.mark.parametrize("enough", [1, 2])
def test_rows_that_say_they_are_done_are_judged_where_they_stand(enough):
    attack = Watching(needs="loss", steps=5, enough=enough, by=0.02)
    objective, x, y, outcome = run_watching(attack)
    assert torch.all(outcome.forwards >= 2 + enough)
    assert torch.all(outcome.forwards <= 3 + enough)
    places = torch.stack([(x + 0.02 * k).clamp(0, 1) for k in range(enough + 1)])
    losses = torch.stack([objective.loss(objective.answer(place, y), y) for place in places])
    torch.testing.assert_close(outcome.loss_kept.double(), losses.amax(dim=0))


def test_the_loss_it_began_with_is_the_one_it_is_judged_by():
    """The targeted loss that APGD-T climbs is another than the one by which its worst point is kept."""
    attack = APGDT(eps=0.02, steps=3, targets=2)
    objective, x, y, keys = setting(attack, wrong=0)
    seen = []

    class Noting(Objective):
        def climb(self, x, y, target=None):
            logits, gradient = super().climb(x, y, target)
            seen.append((x, super().loss(logits, y)))
            return logits, gradient

    outcome = run(attack, Noting(objective.classifier, "dlr"), x, y, keys, keep="worst", batch=64)
    torch.testing.assert_close(outcome.loss_start, seen[0][1].float())
    assert torch.all(outcome.loss_kept >= outcome.loss_start)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_a_model_in_another_precision_is_attacked_in_that_of_the_images(dtype):
    attack = PGD(eps=0.1, steps=5)
    exact, x, y, keys = setting(attack, dtype=torch.float32, wrong=0)
    module = copy.deepcopy(exact.classifier.as_module()).to(dtype)
    other = Objective(BoundClassifier(module, classes=exact.classifier.classes, input_shape=SHAPE), attack.loss)
    for keep in ("first", "worst", "nearest"):
        found, plain = (run(attack, each, x, y, keys, keep=keep, batch=8) for each in (other, exact))
        assert found.x.dtype == found.logits.dtype == found.linf.dtype == torch.float32
        assert (found.fooled == plain.fooled).float().mean() > 0.8
        assert int(found.fooled.sum()) > 0


def test_every_size_is_measured():
    attack = PGD(eps=0.1, steps=3)
    objective, x, y, keys = setting(attack)
    outcome = run(attack, objective, x, y, keys, keep="worst")
    delta = (outcome.x - x).flatten(1)
    torch.testing.assert_close(outcome.size("l1"), delta.abs().sum(dim=1))
    torch.testing.assert_close(outcome.size("l2"), delta.square().sum(dim=1).sqrt())
    torch.testing.assert_close(outcome.size("linf"), delta.abs().amax(dim=1))
    torch.testing.assert_close(outcome.size("none"), outcome.linf)
