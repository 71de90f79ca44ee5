"""What the settings of attacks are where a plan does not say, where what they may be ends, and what each says of itself."""

import dataclasses
import math

import pytest

from demur.errors import InputError, UnknownNameError
from demur.registry import names, parse, resolve

LOSS = {"loss": "cross_entropy"}
OUTSIDE = {"eps": None, "norm": "linf"}
DEFAULTS = {
    "apgd": {"norm": "linf", "steps": 100, "restarts": 1, **LOSS},
    "apgd_t": {"norm": "linf", "steps": 100, "targets": 9},
    "art": OUTSIDE,
    "bim": {"norm": "linf", "steps": 10, "step": None, **LOSS},
    "callable": OUTSIDE,
    "cw": {"rounds": 6, "inner": 100, "step": 0.1, "price": 1.0, "kappa": 0.0},
    "ddn": {"steps": 100, "gamma": 0.05, "init_norm": 1.0, "levels": None, **LOSS},
    "deepfool": {"norm": "l2", "steps": 50, "candidates": 9, "overshoot": 0.02},
    "ensemble": {"norm": "linf", "preset": "standard", "curve": True},
    "fgsm": {"norm": "linf", **LOSS},
    "fmn": {"norm": "linf", "steps": 50, "step": None, "growth": 0.05},
    "foolbox": OUTSIDE,
    "mifgsm": {"norm": "linf", "steps": 10, "step": None, "decay": 1.0, **LOSS},
    "noise": {"norm": "linf", "steps": 100},
    "pgd": {"norm": "linf", "steps": 40, "step": None, "restarts": 1, **LOSS},
    "ray": {
        "direction": "sign",
        "norm": "linf",
        "cap": None,
        "steps": 16,
        "tolerance": 1e-5,
        "root": "chandrupatla",
        **LOSS,
    },
    "spatial": {"steps": 10, "max_translation": 0.1, "max_rotation": 30.0, "grid": False, "padding": "zeros"},
    "square": {"norm": "linf", "steps": 1000, "share": 0.8},
    "torchattacks": OUTSIDE,
}
NEEDED = {"eps": 0.1, "attack": parse("PGD"), "path": "package.module:function"}

FINITE = ([1e-6, 1e6], [0.0, -1.0, math.inf])
SHARE = ([1e-6, 0.999], [0.0, 1.0])
OF = {
    "eps": ([1e-6, 1.0], [0.0, -0.1, 1.001, 8.0, math.inf]),
    "norm": (["linf", "l2"], ["l1", "none", "linfty"]),
    "steps": ([1], [0]),
    "step": ([None, *FINITE[0]], FINITE[1]),
    "restarts": ([1], [0]),
    "targets": ([1], [0]),
    "candidates": ([1], [0]),
    "rounds": ([1], [0]),
    "inner": ([1], [0]),
    "loss": (["cross_entropy", "dlr", "margin", "logit"], ["hinge"]),
    "gamma": SHARE,
    "growth": SHARE,
    "share": SHARE,
    "decay": FINITE,
    "price": FINITE,
    "init_norm": FINITE,
    "overshoot": FINITE,
    "tolerance": FINITE,
    "kappa": ([0.0, 1e6], [-1e-6, math.inf]),
    "levels": ([None, 2, 256], [1, 0]),
    "cap": ([None, 1e-6, 1.0], [0.0, 1.001]),
    "direction": (["gradient", "random", "sign", "mine:way"], ["up", "mine:"]),
    "root": (["chandrupatla", "itp", "bisection"], ["newton"]),
    "max_translation": ([0.0, 1.0], [-0.001, 1.001]),
    "max_rotation": ([0.0, 180.0], [-0.001, 180.001]),
    "padding": (["zeros", "reflection"], ["border"]),
    "preset": (["standard", "quick"], ["slow"]),
}
FACTS = {
    "eps": {"apgd", "apgd_t", "bim", "ensemble", "fgsm", "mifgsm", "noise", "pgd", "square"},
    "minimal": {"art", "callable", "cw", "ddn", "deepfool", "ensemble", "fmn", "foolbox", "ray", "torchattacks"},
    "blind": {"square"},
    "control": {"noise"},
    "external": {"art", "callable", "foolbox", "torchattacks"},
    "gradient_free": {"noise", "spatial", "square"},
    "random_start": {"apgd", "pgd"},
    "nested": {"pgd"},
    "no_target": {"art", "callable", "ensemble", "foolbox", "ray", "torchattacks"},
    "no_keep": {"ensemble", "ray"},
}
ASCENT = {"apgd": "many steps", "bim": "many steps", "fgsm": "one step", "mifgsm": "many steps", "pgd": "many steps"}
LOSSES = {"apgd_t": "dlr"} | dict.fromkeys(
    ["art", "callable", "cw", "deepfool", "fmn", "foolbox", "noise", "spatial", "square", "torchattacks"], "margin"
)
NORMS = {"cw": "l2", "ddn": "l2", "deepfool": "l2", "spatial": "none"}
# Steps in all restarts, and passes in these and what comes before and after.
PRICES = {
    "apgd": (100, 204),
    "apgd_t": (900, 1804),
    "bim": (10, 24),
    "cw": (600, 1204),
    "ddn": (100, 204),
    "deepfool": (50, 504),
    "ensemble": (946, 1411),
    "fgsm": (1, 6),
    "fmn": (50, 104),
    "mifgsm": (10, 24),
    "noise": (100, 104),
    "pgd": (40, 84),
    "ray": (16, 36),
    "spatial": (10, 14),
    "square": (1000, 1004),
}


def fields_of(name):
    return {field.name for field in dataclasses.fields(resolve("attack", name))}


OWN = [(name, field) for name in DEFAULTS for field in OF if field in fields_of(name) and DEFAULTS[name] != OUTSIDE]


def made(name, **fields):
    """The attack, with what it cannot do without."""
    factory = resolve("attack", name)
    needed = {field.name for field in dataclasses.fields(factory) if field.default is dataclasses.MISSING}
    return factory(**{field: NEEDED[field] for field in needed} | fields)


def test_every_attack_is_here():
    assert set(DEFAULTS) == set(names("attack"))


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_a_plan_leaves_out_stays_what_it_was(name):
    """Names leave defaults out, so another default would be another attack under the old name."""
    fields = dataclasses.fields(resolve("attack", name))
    assert DEFAULTS[name] == {each.name: each.default for each in fields if each.default is not dataclasses.MISSING}


@pytest.mark.parametrize(("name", "field"), OWN, ids=[f"{name}-{field}" for name, field in OWN])
def test_a_hyper_parameter_may_be_what_it_may_and_no_more(name, field):
    allowed, refused = OF[field]
    for value in allowed:
        assert getattr(made(name, **{field: value}), field) == value
    for value in refused:
        with pytest.raises((InputError, UnknownNameError), match=rf"`{field}`|unknown {field}"):
            made(name, **{field: value})


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_attack_says_of_itself_what_is_so(name):
    attack = made(name) if name not in FACTS["external"] else made(name, **OUTSIDE)
    assert {fact for fact in FACTS if getattr(attack, fact)} == {fact for fact, who in FACTS.items() if name in who}
    assert attack.ascent == ASCENT.get(name)
    assert attack.loss == LOSSES.get(name, "cross_entropy")
    assert attack.norm == NORMS.get(name, "linf")
    assert (attack.facts.steps, attack.facts.passes) == PRICES.get(name, (1, 1))
    assert attack.facts.ball == (name in FACTS["eps"])


@pytest.mark.parametrize("name", sorted(FACTS["external"]))
def test_a_norm_without_a_ball_and_a_ball_without_a_norm(name):
    for norm, eps in (("linf", 1.0), ("l2", 7.0), ("l1", 7.0), ("none", None), ("l2", None)):
        assert made(name, eps=eps, norm=norm).facts.ball == (eps is not None)
    for norm, eps in (("none", 0.1), ("linf", 1.5), ("l1", 0.0), ("l2", math.inf)):
        with pytest.raises(InputError, match="`eps`"):
            made(name, eps=eps, norm=norm)


def test_sizes_in_other_norms_may_be_more_than_one():
    assert made("pgd", norm="l2", eps=7.0).eps == 7.0
    with pytest.raises(InputError, match=r"`cap`.*\(0, 1\].*got 1.5.*1.5/255"):
        made("ray", cap=1.5)
    assert made("ray", norm="l2", cap=1.5).cap == 1.5


def test_a_grid_needs_three_values_of_each_of_three():
    assert made("spatial", grid=True, steps=26).grid
    with pytest.raises(InputError, match="26"):
        made("spatial", grid=True, steps=25)
