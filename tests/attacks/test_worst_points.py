"""Ball attacks reach the worst point of the ball, flat and curved, in the open and cut by the box."""

import pytest
import torch
from tests.attacks.attack_variants import EPS, called, in_a_ball
from tests.attacks.worst_points import ORACLES, classifier_of, contested, inner, walled, worst

from demur.attacks.core.harness import run
from demur.attacks.core.objective import Answer, Objective
from demur.randomness import Keys

ROWS = 12
STRIDES = {"bim": 1.25, "mifgsm": 1.0, "pgd": 2.5}
"""One step of an attack whose steps do not shrink, in units of eps/steps; of all others little is left in the end."""

CLIMBING = [(name, attack) for name, attack in in_a_ball(steps=40) if attack.needs == "gradient"]
ITERATED = [(name, attack) for name, attack in CLIMBING if attack.steps > 1]
ONE_STEP = [(name, attack) for name, attack in CLIMBING if attack.steps == 1]


def attacked(attack, oracle, x, keep, dtype):
    objective = Objective(classifier_of(oracle, dtype), attack.loss)
    y = torch.full((len(x),), oracle.label)
    keys = Keys.of(0, [str(i) for i in range(len(x))], "worst")
    return objective, y, run(attack, objective, x.to(dtype), y, keys, keep=keep, batch=16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("images", [inner, walled], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize("variant", ITERATED, ids=called)
def test_an_attack_comes_within_a_step_of_the_worst_point(variant, kind, images, dtype):
    (name, attack), oracle = variant, ORACLES[kind]()
    x = images(oracle, ROWS)
    objective, y, outcome = attacked(attack, oracle, x, "worst", dtype)
    point = worst(oracle.double(), x, EPS[attack.norm], attack.norm)
    margins = [objective.climbing("margin").loss(Answer(oracle(p.double())), y).detach() for p in (x, outcome.x, point)]
    before, reached, possible = margins
    assert torch.all(possible > before + 0.01)
    assert torch.all(reached <= possible + 1e-4)
    assert torch.all(possible - reached <= STRIDES.get(name, 0.2) / attack.steps * (possible - before) + 1e-4)
    assert outcome.x.dtype == dtype


@pytest.mark.parametrize("images", [inner, walled], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize("variant", ITERATED, ids=called)
def test_first_success_is_found_exactly_where_it_is_possible(variant, kind, images):
    attack, oracle = variant[1], ORACLES[kind]()
    x = contested(oracle, images(oracle, 4 * ROWS))
    _, y, outcome = attacked(attack, oracle, x, "first", torch.float64)
    z = oracle(worst(oracle, x, EPS[attack.norm], attack.norm)).detach()
    reachable, clear = (
        z.argmax(dim=1) != y,
        (z[:, 0] - z[:, 1]).abs() > 0.05 * (oracle(x.double())[:, 1] - z[:, 1]).abs(),
    )
    assert 0 < reachable.double().mean() < 1, "the oracle must be neither hopeless nor trivial"
    assert torch.equal(outcome.fooled[clear], reachable[clear])


@pytest.mark.parametrize("variant", ONE_STEP, ids=called)
def test_one_step_reaches_the_worst_point_where_the_loss_is_flat_and_the_box_far(variant):
    attack, oracle = variant[1], ORACLES["flat"]()
    x = inner(oracle, ROWS)
    _, _, outcome = attacked(attack, oracle, x, "worst", torch.float64)
    point = worst(oracle, x, EPS[attack.norm], attack.norm)
    torch.testing.assert_close(outcome.x, point, rtol=0, atol=1e-6)
