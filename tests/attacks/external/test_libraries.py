"""Other libraries' attacks: found by name, told what they need, refused in words; the real ones where installed."""

import sys
import types

import numpy as np
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
NORMS = ("linf", "l2", "l1")


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


@pytest.mark.parametrize("field", ["model", "estimator", "classifier", "eps"])
def test_what_demur_gives_is_not_written_inside(told, field):
    with pytest.raises(InputError, match=f"`{field}` is given by demur"):
        attacked(f"torchattacks(attack=Ball({field}=3), eps=0.1)", Plane())
    with pytest.raises(UnknownNameError) as refused:
        attacked("torchattacks(attack=Ball(colour=3), eps=0.1)", Plane())
    assert f"{field}," not in str(refused.value), "nor is it offered"


def module(name, **parts):
    found = types.ModuleType(name)
    vars(found).update(parts)
    return found


@pytest.fixture
def art(monkeypatch):
    """A stand-in for the Adversarial Robustness Toolbox, what its classifier and its attacks are told, and shown."""
    heard = types.SimpleNamespace(classifier=[], attack=[], shown=[])

    class EvasionAttack:
        def generate(self, x, y):
            heard.shown.append((x, y))
            return np.clip(x + np.float32(0.05), 0, 1)

    class Ball(EvasionAttack):
        def __init__(self, estimator, norm=np.inf, eps=0.3, eps_step=0.1, batch_size=32, verbose=True, classifier=None):
            heard.attack.append(locals())

    def classifier(model, loss, input_shape, nb_classes, clip_values=None, device_type="gpu"):
        heard.classifier.append(locals())
        return "the classifier"

    monkeypatch.setitem(sys.modules, "art", module("art"))
    monkeypatch.setitem(sys.modules, "art.attacks", module("art.attacks", EvasionAttack=EvasionAttack))
    monkeypatch.setitem(sys.modules, "art.attacks.evasion", module("art.attacks.evasion", Ball=Ball))
    monkeypatch.setitem(sys.modules, "art.estimators", module("art.estimators"))
    name = "art.estimators.classification"
    monkeypatch.setitem(sys.modules, name, module(name, PyTorchClassifier=classifier))
    return heard


@pytest.mark.parametrize(("norm", "order"), [("linf", np.inf), ("l2", 2), ("l1", 1)])
def test_art_is_told_the_ball_the_batch_and_the_range_of_pixels(art, norm, order):
    _, x, y, outcome = attacked(f"art(attack=Ball, eps=0.9, norm='{norm}')", Plane())
    told = art.attack[0]
    assert (told["estimator"], told["classifier"]) == ("the classifier", "the classifier")
    assert (told["norm"], told["eps"], told["eps_step"]) == (order, 0.9, pytest.approx(0.3))
    assert (told["batch_size"], told["verbose"]) == (10, False)
    assert (art.attack[-1]["batch_size"], len(art.attack)) == (4, 3), "one for each batch, of 24"
    first = art.classifier[0]
    assert (first["input_shape"], first["nb_classes"], first["clip_values"]) == (SHAPE, 2, (0.0, 1.0))
    assert first["device_type"] == "cpu"
    assert isinstance(first["loss"], torch.nn.CrossEntropyLoss)
    shown, labels = (np.concatenate(parts) for parts in zip(*art.shown, strict=True))
    np.testing.assert_array_equal(shown, x.numpy())
    np.testing.assert_array_equal(labels, y.numpy())
    if norm == "linf":
        kept = outcome.fooled
        torch.testing.assert_close(outcome.x[kept], (x + 0.05).clamp(max=1)[kept])


def test_art_without_a_ball_or_a_norm_is_told_of_none(art):
    with pytest.raises(InputError, match="Give its radius beside it: eps=2/255"):
        attacked("art(attack=Ball)", Plane())
    attacked("art(attack=Ball(eps_step=0.5), eps=0.1)", Plane())
    assert art.attack[-1]["eps_step"] == 0.5, "what is written wins"
    assert build("attack", "art(attack=Ball, eps=0.1)").sentence == (
        "{size}, searched by Ball of the Adversarial Robustness Toolbox"
    )


@pytest.fixture
def foolbox(monkeypatch):
    """A stand-in for Foolbox, and what its model and its attacks are told."""
    heard = types.SimpleNamespace(model=[], attack=[], call=[])

    class Attack:
        distance = types.SimpleNamespace(p=torch.inf)

        def __init__(self, steps=40):
            heard.attack.append(steps)

        def __call__(self, model, x, y, *, epsilons):
            heard.call.append((model, y, epsilons))
            return x + 2, (x + 0.05).clamp(max=1), None

    class Far(Attack):
        distance = types.SimpleNamespace(p=2)

    class Taxi(Attack):
        distance = types.SimpleNamespace(p=1)

    class Any(Attack):
        distance = None

    def model(net, bounds, device=None):
        heard.model.append((bounds, device))
        return "the model"

    attacks = module("foolbox.attacks", Near=Attack, Far=Far, Taxi=Taxi, Any=Any)
    attacks.base = types.SimpleNamespace(Attack=Attack)
    monkeypatch.setitem(sys.modules, "foolbox", module("foolbox", attacks=attacks, PyTorchModel=model))
    return heard


def test_foolbox_is_told_the_ball_and_the_range_and_its_clipped_point_is_taken(foolbox):
    _, x, y, outcome = attacked("foolbox(attack=Near(steps=7), eps=0.1)", Plane())
    assert foolbox.attack == [7, 7, 7]
    assert foolbox.model == [((0, 1), torch.device("cpu"))] * 3
    assert {(net, epsilons) for net, _, epsilons in foolbox.call} == {("the model", 0.1)}
    torch.testing.assert_close(torch.cat([labels for _, labels, _ in foolbox.call]), y)
    assert outcome.fooled.any()
    torch.testing.assert_close(outcome.x[outcome.fooled], (x + 0.05).clamp(max=1)[outcome.fooled])


def test_foolbox_measures_in_the_norm_that_is_written_or_in_none(foolbox):
    for attack, norm in (
        ("Near", "linf"),
        ("Far", "l2"),
        ("Taxi", "l1"),
        ("Far", "none"),
        *(("Any", n) for n in NORMS),
    ):
        attacked(f"foolbox(attack={attack}, norm='{norm}')", Plane())
        assert foolbox.call[-1][2] is None, "no radius"
    for attack, own, norm in (("Near", "linf", "l2"), ("Far", "l2", "linf"), ("Taxi", "l1", "l2")):
        with pytest.raises(InputError, match=rf"{attack}' measures itself in {own}; got norm='{norm}'.*norm='{own}'"):
            attacked(f"foolbox(attack={attack}, norm='{norm}')", Plane())


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
