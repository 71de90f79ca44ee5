"""Other libraries' attacks: found by name, told what they need, refused in words; the real ones where installed."""

import sys
import types

import pytest
import torch
from tests.oracles import CLASSES, SHAPE, Bowl, Plane, images

from demur.attacks.core.objective import Objective
from demur.attacks.external.external import run_external
from demur.classifier import BoundClassifier
from demur.errors import InputError, MissingExtraError, UnknownNameError
from demur.randomness import Keys
from demur.registry import build

EPS, ROWS = 0.08, 24


def attacked(text, oracle, batch=10):
    oracle = oracle.eval()
    x = images(oracle, ROWS)
    y = torch.full((ROWS,), oracle.label)
    objective = Objective(BoundClassifier(oracle, classes=CLASSES, input_shape=SHAPE), "margin")
    keys = Keys.of(0, [str(i) for i in range(ROWS)], "libraries")
    return objective, x, y, run_external(build("attack", text), objective, x, y, keys, batch=batch)


@pytest.fixture
def told(monkeypatch):
    """A stand-in for torchattacks with two attacks, and what they are told."""
    heard = []

    class Attack:
        def __call__(self, x, y):
            return x

    class Ball(Attack):
        def __init__(self, model, norm="Linf", eps=8 / 255, alpha=2 / 255, steps=10, n_classes=10, seed=None):
            if steps < 1:
                raise ValueError("steps must be positive.\nSee the manual")
            heard.append({"norm": norm, "eps": eps, "alpha": alpha, "steps": steps, "classes": n_classes, "seed": seed})

    class Nearest(Attack):
        def __init__(self, model, overshoot=0.02, inner=None):
            heard.append({"overshoot": overshoot, "inner": inner})

    package = types.ModuleType("torchattacks")
    package.attack = types.SimpleNamespace(Attack=Attack)
    package.Ball, package.Nearest, package.helper = Ball, Nearest, print
    monkeypatch.setitem(sys.modules, "torchattacks", package)
    return heard


def test_an_attack_is_told_what_it_has_fields_for(told):
    attacked("torchattacks(attack=Ball(steps=20), eps=0.1, norm='l2')", Plane())
    first, *others = told
    assert (first["norm"], first["eps"], first["steps"], first["classes"]) == ("L2", 0.1, 20, 2)
    assert first["alpha"] == pytest.approx(0.1 / 4), "as large a share of eps as by default"
    assert len(others) == 2, "one for each batch"
    assert len({each["seed"] for each in told}) == 3
    again = len(told)
    attacked("torchattacks(attack=Ball(steps=20), eps=0.1, norm='l2')", Plane())
    assert told[again:] == told[:again], "seeds come from the keys"


def test_what_is_written_wins(told):
    attacked("torchattacks(attack=Ball(alpha=0.5, n_classes=7), eps=0.1)", Plane())
    assert (told[0]["alpha"], told[0]["classes"]) == (0.5, 7)


def test_attacks_nest(told):
    attacked("torchattacks(attack=Nearest(inner=Nearest(overshoot=0.5)))", Plane())
    assert [each["overshoot"] for each in told[:2]] == [0.5, 0.02]
    assert type(told[1]["inner"]).__name__ == "Nearest"


@pytest.mark.parametrize(
    ("attack", "error", "words"),
    [
        ("Bal, eps=0.1", UnknownNameError, "unknown torchattacks attack 'Bal'. Did you mean 'Ball'.*Ball, Nearest"),
        ("helper, eps=0.1", UnknownNameError, "unknown torchattacks attack 'helper'"),
        ("Ball(step=3), eps=0.1", UnknownNameError, "'step'. Did you mean 'steps'"),
        ("Ball(steps=0), eps=0.1", InputError, "steps must be positive. Its fields: model, norm"),
        ("Ball", InputError, "Give its radius beside it"),
        ("Ball(eps=0.1), eps=0.1", InputError, "beside attack, not inside"),
        ("Ball(model=3), eps=0.1", InputError, "given by demur"),
    ],
)
def test_an_attack_that_cannot_be_is_an_error_and_no_crash(told, attack, error, words):
    with pytest.raises(error, match=words):
        attacked(f"torchattacks(attack={attack})", Plane())


@pytest.mark.parametrize(
    ("name", "module", "line"),
    [
        ("foolbox", "foolbox", r"pip install 'demur\[foolbox\]'"),
        ("art", "art.attacks.evasion", r"pip install 'demur\[art\]'"),
        ("torchattacks", "torchattacks", "pip install --no-deps torchattacks && pip install requests tqdm"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_install_line(monkeypatch, name, module, line):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    with pytest.raises(MissingExtraError, match=line):
        attacked(f"{name}(attack=Any, eps=0.1)", Plane())


@pytest.mark.parametrize("oracle", [Plane, Bowl])
@pytest.mark.parametrize(
    "text",
    [
        f"foolbox(attack=LinfPGD(rel_stepsize=0.1, steps=30), eps={EPS})",
        f"torchattacks(attack=PGD(steps=20), eps={EPS})",
        f"torchattacks(attack=APGD(n_restarts=2), eps={EPS})",
        f"art(attack=ProjectedGradientDescentPyTorch(max_iter=20), eps={EPS})",
        f"art(attack=FastGradientMethod, eps={EPS})",
    ],
)
def test_a_real_attack_succeeds_where_the_worst_point_of_the_ball_does(text, oracle):
    pytest.importorskip(text.partition("(")[0])
    objective, x, y, outcome = attacked(text, oracle())
    best = objective.answer(oracle().worst(x, EPS), y)
    clear = objective.lead(best, y).abs() > 0.02
    reachable = objective.fooled(best, y)
    agree = outcome.fooled[clear] == reachable[clear]
    assert float(agree.float().mean()) > (0.7 if "FastGradient" in text else 0.95)
    assert torch.all(outcome.troubles == 0)
    assert torch.all(outcome.backwards > 0)
    assert outcome.extra == {}


@pytest.mark.parametrize(
    "text",
    [
        "foolbox(attack=LinfDeepFoolAttack)",
        "foolbox(attack=DDNAttack, norm='l2')",
        "torchattacks(attack=DeepFool, norm='l2')",
        "art(attack=DeepFool, norm='l2')",
    ],
)
def test_a_real_search_for_the_smallest_change_comes_near_it(text):
    pytest.importorskip(text.partition("(")[0])
    plane = Plane()
    _, x, _, outcome = attacked(text, plane)
    normal = plane.normal.detach()
    distance = plane(x)[:, 1].detach().abs()
    exact = distance / (normal.norm() if "l2" in text else normal.abs().sum())
    found = outcome.l2 if "l2" in text else outcome.linf
    near = outcome.fooled & (exact < (0.3 if "l2" in text else 0.1))
    assert int(near.sum()) > 4
    assert torch.all(found[near] >= exact[near] * 0.999)
    assert torch.all(found[near] <= exact[near] * 1.3)


def test_an_attack_of_foolbox_says_itself_what_its_norm_is():
    pytest.importorskip("foolbox")
    with pytest.raises(InputError, match=r"measures itself in l2; got norm='linf'\. Write norm='l2'"):
        attacked("foolbox(attack=L2PGD, eps=0.3)", Plane())
