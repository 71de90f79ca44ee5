"""Every registered attack keeps the contract of `demur.testing`, and one that breaks a rule of it is told so."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from tests.attacks.attack_variants import EPS, called, in_a_ball, variants
from tests.attacks.counting_objective import setting

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise, run
from demur.attacks.core.projections import length
from demur.testing import check_attack
from demur.testing.attack_contract import ROWS, RULES, AttackTrial, check_outcome
from demur.testing.rules import check_rules

VARIANTS = variants()
IN_A_BALL = in_a_ball()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_an_attack_keeps_the_contract(variant, rule):
    check_rules(called(variant), (rule,), AttackTrial.of(variant[1]))


@pytest.mark.parametrize("keep", ["first", "worst", "nearest"])
@pytest.mark.parametrize("variant", VARIANTS, ids=called)
def test_every_pass_is_counted(variant, keep):
    objective, x, y, keys = setting(variant[1])
    whole = run(variant[1], objective, x, y, keys, keep=keep, batch=64)
    check_outcome(AttackTrial.of(variant[1]), whole)
    assert (int(whole.forwards.sum()), int(whole.backwards.sum())) == (objective.rows, objective.backwards)


@pytest.mark.parametrize("variant", IN_A_BALL, ids=called)
def test_each_row_keeps_to_its_own_radius(variant):
    trial = AttackTrial.of(variant[1])
    eps = torch.linspace(0.1, 1.5, ROWS).double() * EPS[trial.attack.norm]
    outcome = trial.run(keep="worst", eps=eps)
    far = length(outcome.x - trial.x, trial.attack.norm)
    assert torch.all(far <= eps + 1e-5)
    assert torch.all(far > 0.05 * eps)
    same = trial.run(keep="worst", eps=torch.full((ROWS,), trial.attack.eps))
    torch.testing.assert_close(same.x, trial.run(keep="worst").x)


@dataclass(frozen=True, kw_only=True)
class Faulty(Stepwise):
    """One step up the sign of the gradient, spoilt in one way."""

    norm: ClassVar[Norm] = "linf"
    needs: ClassVar[Needs] = "gradient"
    steps: ClassVar[int] = 2
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "cross_entropy"
    sentence: ClassVar[str] = "{size}"

    eps: float = 0.08
    fault: str = ""

    def start(self, state: AttackState, restart: int) -> AttackState:
        return state

    def advance(self, state: AttackState, output: Output) -> AttackState:
        step = output.gradient.sign()
        match self.fault:
            case "lazy":
                return state
            case "batch":
                step = step * (output.gradient.abs() > output.gradient.abs().mean())
        return state.at((state.origin + self.eps * step).clamp(0, 1))


@pytest.mark.parametrize(
    ("fault", "words"),
    [("lazy", "no image is changed and none is fooled"), ("batch", "do not depend on batch size or order")],
)
def test_a_rule_that_is_broken_is_named(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_attack(Faulty(fault=fault))


def test_a_sound_attack_passes():
    check_attack(Faulty())
    check_attack("fgsm")
    check_attack("pgd(eps=0.3, norm='l2', steps=4)")
