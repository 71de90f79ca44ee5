"""Foreign attacks are let loose on a model and believed in nothing: fakes that cheat, crash, lose and disturb."""

# ruff: noqa: NPY002, TID251 - global random state is what these attacks disturb

import random

import numpy as np
import pytest
import torch
from tests.oracles import CLASSES, SHAPE, Bowl, Plane, images
from torch import nn

from demur.attacks.core.attack_state import Trouble
from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.external.callable_attack import ByPath, FunctionAttack
from demur.attacks.external.external import run_external
from demur.attacks.gradient_sign import FGSM
from demur.classifier import BoundClassifier
from demur.errors import AddressError, InputError, UnknownNameError
from demur.randomness import Keys
from demur.registry import build, describe, parse

EPS, ROWS = 0.08, 20


def setting(oracle=None, rows=ROWS):
    oracle = (oracle or Plane()).eval()
    x = images(oracle, rows)
    objective = Objective(BoundClassifier(oracle, classes=CLASSES, input_shape=SHAPE), "margin")
    return objective, x, torch.full((rows,), oracle.label), Keys.of(0, [str(i) for i in range(rows)], "foreign")


def attacked(function, keep="first", batch=8, **rules):
    objective, x, y, keys = setting()
    return x, run_external(
        FunctionAttack(function=function, **{"eps": EPS, **rules}), objective, x, y, keys, keep=keep, batch=batch
    )


def flagged(outcome, trouble):
    return (outcome.troubles & int(trouble)) > 0


def worst(x):
    return Plane().worst(x, EPS)


def honest(model, x, y):
    leaf = x.clone().requires_grad_()
    nn.functional.cross_entropy(model(leaf), y, reduction="sum").backward()
    return (x + EPS * leaf.grad.sign()).clamp(0, 1)


REACHABLE = (lambda objective, x, y, _: objective.fooled(objective.answer(worst(x), y), y))(*setting())


def test_an_honest_attack_is_measured_as_demur_measures_its_own():
    objective, x, y, keys = setting()
    theirs = run_external(FunctionAttack(function=honest, eps=EPS), objective, x, y, keys, batch=8)
    ours = run(FGSM(eps=EPS), objective, x, y, keys, batch=8)
    assert 0 < int(theirs.fooled.sum()) < ROWS
    for name in ("x", "logits", "fooled", "linf", "l2", "troubles"):
        torch.testing.assert_close(getattr(theirs, name), getattr(ours, name))
    assert torch.all(theirs.step == torch.where(theirs.fooled, 1, -1))
    assert torch.all(theirs.backwards == 1)
    assert set(theirs.forwards.tolist()) <= {3, 4}, "clean, theirs, the check of what came back, and float64 if close"
    assert theirs.extra == {}


def test_every_pass_of_theirs_is_counted_for_the_row_it_is_spent_on():
    def uneven(model, x, y):
        leaf = x.clone().requires_grad_()
        logits = model(leaf)
        for k in range(2):
            torch.autograd.grad(logits[:, k].sum(), leaf, retain_graph=True)
        model(x[[1, 0, 1]])
        leaf = x[1:2].clone().requires_grad_()
        model(leaf + 0.01).sum().backward()
        return x

    _, outcome = attacked(uneven, batch=ROWS)
    # clean, one of its own for all, and the check of what came back
    assert torch.equal(outcome.forwards - 3, torch.tensor([1, 3] + [0] * (ROWS - 2), dtype=torch.int32))
    assert torch.equal(outcome.backwards - 2, torch.tensor([0, 1] + [0] * (ROWS - 2), dtype=torch.int32))


@pytest.mark.parametrize("error", [RuntimeError("out of luck\nand more"), SystemExit("out of luck")])
def test_a_crash_costs_the_row_it_happens_on_and_says_why(error):
    calls, unlucky = [], torch.arange(ROWS) == 9

    def failing(model, x, y):
        calls.append(len(x))
        if any(torch.equal(row, bad) for row in x):
            model(worst(x))
            raise error
        return worst(x)

    bad = attacked(lambda model, x, y: x, batch=8)[0][9]
    x, outcome = attacked(failing, batch=8)
    assert calls == [8, 8, 4, 2, 1, 1, 2, 4, 4]
    assert torch.equal(flagged(outcome, Trouble.CRASHED), unlucky)
    assert torch.equal(outcome.fooled, REACHABLE & ~unlucky)
    assert torch.equal(outcome.x[9], x[9])
    assert [bool(reason) for reason in outcome.extra["crash"]] == unlucky.tolist()
    assert outcome.extra["crash"][9] == f"{type(error).__name__}: out of luck"
    assert not flagged(outcome, Trouble.SILENT).any()
    assert int(outcome.forwards[9]) == 1 + 4, "what was spent before each crash is counted"


def test_an_interruption_inside_an_attack_is_the_user_s():
    def interrupted(model, x, y):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attacked(interrupted)


def test_a_success_that_is_lost_again_is_told():
    def forgetful(model, x, y):
        model(worst(x))
        return x

    x, outcome = attacked(forgetful)
    assert 0 < int(REACHABLE.sum()) < ROWS
    assert torch.equal(flagged(outcome, Trouble.SILENT), REACHABLE)
    assert not outcome.fooled.any()
    assert torch.equal(outcome.x, x)


def test_a_success_outside_the_rules_is_no_lost_success():
    def beyond(model, x, y):
        model((x + 3 * (worst(x) - x)).clamp(0, 1))
        model(worst(x) + 2.0)
        return x

    _, outcome = attacked(beyond)
    assert not flagged(outcome, Trouble.SILENT).any()


def test_a_lost_success_among_shuffled_rows_is_told_of_the_right_one():
    def shuffled(model, x, y):
        model(worst(x).flip(0)[:-1])
        return x

    _, outcome = attacked(shuffled, batch=ROWS)
    assert torch.equal(flagged(outcome, Trouble.SILENT), REACHABLE & (torch.arange(ROWS) > 0))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x + 1.2 * (worst(x) - x),
        lambda x: worst(x) - 2.0,
        lambda x: torch.where(torch.arange(16).view(SHAPE) == 3, 1 + 1e-4, x),
        lambda x: torch.where(torch.arange(16).view(SHAPE) == 3, torch.nan, worst(x)),
        lambda x: worst(x) * torch.inf,
    ],
    ids=["ball", "box below", "box above", "nan", "infinite"],
)
@pytest.mark.parametrize("keep", ["first", "worst", "nearest"])
def test_what_breaks_the_rules_is_discarded(spoil, keep):
    def cheat(model, x, y):
        return torch.cat([spoil(x)[:3], worst(x)[3:]])

    x, outcome = attacked(cheat, keep=keep, batch=ROWS, eps=EPS)
    bad = torch.arange(ROWS) < 3
    assert torch.equal(flagged(outcome, Trouble.OUTSIDE), bad)
    assert torch.equal(outcome.x[bad], x[bad])
    assert torch.equal(outcome.fooled, REACHABLE & ~bad)
    assert outcome.logits.isfinite().all()


@pytest.mark.parametrize("pixel", [-1e-4, 1 + 1e-4])
def test_a_ball_as_wide_as_the_box_does_not_widen_the_box(pixel):
    x, outcome = attacked(lambda model, x, y: torch.full_like(x, pixel), eps=1.0, keep="worst")
    assert flagged(outcome, Trouble.OUTSIDE).all()
    assert torch.equal(outcome.x, x)


def test_what_was_wrong_before_was_not_won_by_the_attack():
    objective, x, y, keys = setting()

    def undoing(model, x, y):
        model(x)
        return (x - EPS * Plane().normal.detach().sign().view(1, *SHAPE)).clamp(0, 1)

    closest = objective.logits(x)[:, 1].argsort(descending=True)[:3]
    y[closest] = 0
    x[closest] = worst(x[closest])
    outcome = run_external(FunctionAttack(function=undoing, eps=EPS), objective, x, y, keys, keep="worst")
    assert int((outcome.step == 0).sum()) == 3
    assert not outcome.fooled.any()
    assert not flagged(outcome, Trouble.SILENT).any()


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda x: x[:-1], "shape"),
        (lambda x: x.flatten(1), "shape"),
        (lambda x: None, "NoneType"),
        (lambda x: "adversarial", "str"),
    ],
)
def test_what_is_no_batch_of_images_is_a_crash(returned, words):
    _, outcome = attacked(lambda model, x, y: returned(x))
    assert flagged(outcome, Trouble.CRASHED).all()
    assert all(words in reason for reason in outcome.extra["crash"])


def test_arrays_and_other_precisions_are_taken():
    for convert in (lambda x: x.double(), lambda x: x.numpy(), lambda x: x.requires_grad_()):
        x, outcome = attacked(lambda model, x, y, convert=convert: convert(worst(x)))
        assert torch.equal(outcome.fooled, REACHABLE)
        assert outcome.x.dtype == x.dtype
        assert not outcome.x.requires_grad


def test_the_random_state_of_others_is_untouched_and_theirs_comes_from_the_keys():
    def disturbing(model, x, y):
        noise = torch.rand_like(x) + torch.from_numpy(np.random.rand(*x.shape)).float() + random.random()
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)
        return (x + EPS * (noise - 1.5).clamp(-1, 1)).clamp(0, 1)

    def draws():
        return float(torch.rand(())), float(np.random.rand()), random.random()

    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = states()
    one = attacked(disturbing, keep="worst")[1]
    assert states() == before
    draws()
    two = attacked(disturbing, keep="worst")[1]
    assert torch.equal(one.x, two.x)
    objective, x, y, _ = setting()
    other = Keys.of(1, [str(i) for i in range(ROWS)], "foreign")
    three = run_external(FunctionAttack(function=disturbing, eps=EPS), objective, x, y, other, keep="worst", batch=8)
    assert not torch.equal(one.x, three.x)


class Batched(nn.Module):
    """Plane behind a normalisation that training mode would change."""

    def __init__(self):
        super().__init__()
        self.norm, self.plane, self.drop = nn.BatchNorm2d(1), Plane(), nn.Dropout(0.5)

    def forward(self, x):
        return self.plane(self.drop(self.norm(x)))


@pytest.mark.parametrize(
    "switch",
    [
        lambda model: model.train(),
        lambda model: [layer.train() for layer in model.children()],
        lambda model: [setattr(layer, "training", True) for layer in model.modules()],
    ],
)
def test_training_mode_is_refused_and_undone(switch):
    def training(model, x, y):
        model.eval()
        switch(model)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return worst(x + 0 * model(x).sum())

    module = Batched().eval()
    module.plane.normal.requires_grad_(False)
    objective = Objective(BoundClassifier(module, classes=CLASSES, input_shape=SHAPE), "margin")
    x, y = torch.rand(4, *SHAPE), torch.zeros(4, dtype=torch.long)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    keys = Keys.of(0, list("abcd"), "")
    outcome = run_external(FunctionAttack(function=training, eps=EPS), objective, x, y, keys, keep="worst")
    assert flagged(outcome, Trouble.CRASHED).all()
    assert all("evaluation mode" in reason for reason in outcome.extra["crash"])
    assert not any(layer.training for layer in module.modules())
    assert [p.requires_grad for _, p in module.named_parameters()] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_what_it_does_to_its_arguments_changes_nothing():
    def scribbling(model, x, y):
        found = worst(x)
        x.zero_()
        y.fill_(1)
        return found

    x, outcome = attacked(scribbling)
    clean = x.clone()
    assert torch.equal(outcome.fooled, REACHABLE)
    assert torch.equal(x, clean)
    assert torch.equal(setting()[1], x)


def test_autograd_is_on_and_stdout_is_kept_clean(capsys):
    def talking(model, x, y):
        print("step 1 of 100")
        return honest(model, x, y)

    with torch.no_grad():
        _, outcome = attacked(talking)
    assert torch.equal(outcome.fooled, REACHABLE)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("keep", ["first", "nearest", "worst"])
def test_rows_that_are_wrong_already_are_left_alone_unless_the_worst_is_asked_for(keep):
    objective, x, y, keys = setting()
    y[:5] = 1 - y[:5]
    given = []

    def watching(model, x, y):
        given.append(len(x))
        return worst(x)

    outcome = run_external(FunctionAttack(function=watching, eps=EPS), objective, x, y, keys, keep=keep, batch=64)
    assert given == [ROWS if keep == "worst" else ROWS - 5]
    assert torch.all(outcome.step[:5] == 0)
    if keep == "worst":
        assert torch.equal(outcome.x, worst(x))
    else:
        assert torch.all(outcome.linf[:5] == 0)
        assert torch.all(outcome.forwards[:5] == 1)
    assert not flagged(outcome, Trouble.SILENT).any()


def test_when_all_are_wrong_already_nothing_is_called():
    objective, x, y, keys = setting()
    outcome = run_external(FunctionAttack(function=None, eps=EPS), objective, x, 1 - y, keys)
    assert outcome.fooled.all()


def test_a_success_that_float64_does_not_confirm_is_neither_a_success_nor_a_lost_one():
    class Doubting(Objective):
        def near(self, logits, y, goal=None):
            return self.fooled(logits, y, goal)

        def confirmed(self, x, y, goal=None):
            return torch.zeros_like(y, dtype=torch.bool)

    objective, x, y, keys = setting()
    doubting = Doubting(objective.classifier, "margin")
    outcome = run_external(
        FunctionAttack(function=lambda model, x, y: model(worst(x)) is None or worst(x), eps=EPS), doubting, x, y, keys
    )
    assert torch.equal(flagged(outcome, Trouble.UNCONFIRMED), REACHABLE)
    assert not outcome.fooled.any()
    assert not flagged(outcome, Trouble.SILENT).any()


def test_without_a_ball_any_change_inside_the_box_counts():
    _, outcome = attacked(lambda model, x, y: Plane().worst(x, 1.0), eps=None, norm="l2", keep="nearest")
    assert outcome.fooled.all()
    assert outcome.l2.min() > 0.5


def test_external_attacks_say_that_they_are():
    assert FunctionAttack(function=honest).facts.external
    assert build("attack", "callable(path='a.b:c')").facts.external
    assert build("attack", "foolbox(attack=LinfPGD)").facts.external
    assert not FGSM(eps=EPS).facts.external


def attack_in_a_module(model, x, y):
    return worst(x)


def test_a_function_is_found_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def nudge(model, x, y):\n    return (x + 0.01).clamp(0, 1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    objective, x, y, keys = setting()
    outcome = run_external(ByPath(path="mine:nudge", eps=0.02), objective, x, y, keys, keep="worst")
    torch.testing.assert_close(outcome.x, x + 0.01)


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        (
            "tests.attacks.external.test_external:attack_in_a_modul",
            UnknownNameError,
            "Did you mean 'attack_in_a_module'",
        ),
        ("tests.attacks.nowhere:attack", AddressError, "installed or lies in the current directory"),
        ("tests.attacks.external.test_external:EPS", UnknownNameError, "unknown function"),
    ],
)
def test_a_function_that_is_not_there_is_an_error_and_no_crash(path, error, words):
    objective, x, y, keys = setting()
    with pytest.raises(error, match=words):
        run_external(ByPath(path=path, eps=EPS), objective, x, y, keys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("callable(path='nudge')", "package.module:function"),
        ("callable(path='a:b', eps=8)", "Did you mean 8/255"),
        ("callable(path='a:b', eps=0.1, norm='none')", "no ball"),
        ("callable(path='a:b', norm='l3')", "Known: l1, l2, linf, none"),
        ("callable(eps=0.1)", "needs a value for `path`"),
        ("foolbox(eps=0.1)", "needs a value for `attack`"),
        ("foolbox(attack='LinfPGD', eps=0.1)", "must be a name; got 'LinfPGD'"),
        ("foolbox(attack=LinfPGD, eps=FGSM)", "`eps`"),
    ],
)
def test_a_name_that_cannot_be_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        build("attack", text)


@pytest.mark.parametrize(
    "text",
    [
        "foolbox(attack=LinfPGD(steps=20), eps=0.25)",
        "torchattacks(attack=PGD, eps=0.5, norm='l2')",
        "art(attack=BoundaryAttack(estimator_name='a', nested=Inner(deep=[1, 2])), norm='none')",
        "callable(eps=0.125, path='package.module:function')",
    ],
)
def test_the_canonical_name_of_a_foreign_attack_reads_back(text):
    attack = build("attack", text)
    assert describe(parse(text).name, attack) == text
    assert build("attack", describe(parse(text).name, attack)) == attack
    assert "{size}" in attack.sentence


def test_a_curved_net_needs_more_than_one_call():
    """The runner's own view of what is reachable agrees with a closed form that is not flat."""
    objective, x, y, keys = setting(Bowl())
    bowl = Bowl()
    outcome = run_external(FunctionAttack(function=lambda m, x, y: bowl.worst(x, EPS), eps=EPS), objective, x, y, keys)
    assert torch.equal(outcome.fooled, objective.fooled(objective.answer(bowl.worst(x, EPS), y), y))
