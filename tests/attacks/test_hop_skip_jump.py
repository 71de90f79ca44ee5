"""HopSkipJump: near the distances known in closed form, by the answered class alone, and no question uncounted."""

import pytest
import torch
from tests.oracles import CLASSES, SHAPE, Bowl, Fan, Plane, images

from demur.attacks.core.attack_state import AttackState
from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.hop_skip_jump import HopSkipJump
from demur.classifier import BoundClassifier
from demur.randomness import Keys

ROWS = 9


def attacked(attack, module, x, y, keep="nearest", batch=64):
    classifier = BoundClassifier(module.eval(), classes=getattr(module, "classes", CLASSES), input_shape=SHAPE)
    keys = Keys.of(0, [str(row) for row in range(len(x))], "hop")
    return run(attack, Objective(classifier, attack.loss), x, y, keys, keep=keep, batch=batch)


@pytest.mark.parametrize(("norm", "median", "most"), [("l2", 1.04, 1.05), ("linf", 1.06, 1.25)])
@pytest.mark.parametrize("oracle", [Plane(), Fan(), Bowl()], ids=lambda oracle: type(oracle).__name__)
def test_it_comes_near_the_minimal_perturbation(oracle, norm, median, most):
    x = images(oracle, ROWS)
    outcome = attacked(HopSkipJump(norm=norm), oracle, x, torch.full((ROWS,), oracle.label))
    ratio = (outcome.l2 if norm == "l2" else outcome.linf) / oracle.nearest_in_box(x, norm)
    assert outcome.fooled.all()
    assert ratio.median() <= median
    assert ratio.min() >= 0.999
    if not isinstance(oracle, Fan):  # where noise falls to another class than the nearest it stays with that one
        assert ratio.max() <= most


def test_more_questions_bring_it_nearer():
    oracle = Bowl()
    x, y = images(oracle, ROWS), torch.full((ROWS,), oracle.label)
    sizes = [attacked(HopSkipJump(norm="l2", steps=steps), oracle, x, y).l2 for steps in (60, 200, 1000)]
    assert sizes[0].median() > 1.02 * sizes[1].median() > 1.04 * sizes[2].median()


class Decided(torch.nn.Module):
    """The net's class and nothing else: 1 for it, −1 for others."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return 2.0 * torch.nn.functional.one_hot(self.net(x).argmax(dim=1), 2) - 1


def test_the_answered_class_is_all_it_goes_by():
    oracle = Plane()
    x, y = images(oracle, ROWS), torch.zeros(ROWS, dtype=torch.long)
    attack = HopSkipJump(norm="l2", steps=400)
    told, decided = (attacked(attack, module, x, y) for module in (oracle, Decided(oracle)))
    assert decided.fooled.all()
    assert torch.all(decided.backwards == 0)
    torch.testing.assert_close(decided.l2, told.l2, rtol=0.02, atol=0)


@pytest.mark.parametrize("steps", [20, 300])
def test_no_image_asks_more_than_it_may(steps):
    oracle = Plane()
    attack = HopSkipJump(steps=steps)
    outcome = attacked(attack, oracle, images(oracle, ROWS), torch.zeros(ROWS, dtype=torch.long))
    assert torch.all(outcome.forwards > steps)
    assert torch.all(outcome.forwards <= attack.passes)


def test_where_no_noise_is_answered_wrong_an_image_stands_and_asks_no_further():
    def never(x):
        return torch.stack([x.flatten(1).sum(dim=1) * 0 + 2, x.flatten(1).sum(dim=1) * 0], dim=1)

    module = torch.nn.Module()
    module.forward = never
    outcome = attacked(HopSkipJump(), module, torch.full((3, *SHAPE), 0.3), torch.zeros(3, dtype=torch.long))
    assert not outcome.fooled.any()
    assert torch.all(outcome.x == 0.3)
    assert outcome.forwards.tolist() == [52] * 3, "the image, fifty draws, and the point it was left at"


def _state(far, **own):
    fields = {"eps": torch.full((len(far),), torch.inf), "seed": torch.arange(len(far)), "logits": torch.zeros(2, 2)}
    y = torch.zeros(len(far), dtype=torch.long)
    return AttackState(x=far, y=y, origin=torch.zeros_like(far), far=far, **fields, **own)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_leap_goes_along_the_votes_less_their_mean(norm):
    """Of four probes u with votes φ: Σ (φ − φ̄) u, or Σ φ u where all votes are alike."""
    probes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.5, 0.5]])
    votes = torch.tensor([[1.0, 1.0, -1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]])
    far = torch.full((2, 1, 1, 2), 0.5)
    state = _state(
        far,
        leaning=(votes @ probes).view(2, 1, 1, 2),
        drift=probes.sum(dim=0).expand(2, 2).reshape(2, 1, 1, 2),
        balance=votes.sum(dim=1),
        asked=torch.tensor([4, 4]),
        stride=torch.tensor([0.1, 0.2]),
    )
    ways = torch.stack([((votes[0] - votes[0].mean())[:, None] * probes).sum(dim=0), -probes.sum(dim=0)])
    ways = ways / ways.norm(dim=1, keepdim=True) if norm == "l2" else ways.sign()
    moved = HopSkipJump(norm=norm)._go(state)
    torch.testing.assert_close(moved.x, far + (torch.tensor([[0.1], [0.2]]) * ways).view(2, 1, 1, 2))
