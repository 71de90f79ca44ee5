"""What hyper-parameters are where a plan does not say, and where what they may be ends."""

import dataclasses
import math

import pytest

from demur.attacks.core.hyperparameters import check_above_zero, check_at_least_zero, check_eps, check_external
from demur.errors import InputError, UnknownNameError
from demur.registry import resolve

DEFAULTS = {
    "apgd": {"norm": "linf", "steps": 100, "restarts": 1, "loss": "cross_entropy"},
    "apgd_t": {"norm": "linf", "steps": 100, "targets": 9},
    "art": {"eps": None, "norm": "linf"},
    "bim": {"norm": "linf", "steps": 10, "step": None, "loss": "cross_entropy"},
    "callable": {"eps": None, "norm": "linf"},
    "cw": {"rounds": 6, "inner": 100, "step": 0.1, "price": 1.0, "kappa": 0.0},
    "ddn": {"steps": 100, "gamma": 0.05, "init_norm": 1.0, "levels": None, "loss": "cross_entropy"},
    "deepfool": {"norm": "l2", "steps": 50, "candidates": 9, "overshoot": 0.02},
    "ensemble": {"norm": "linf", "preset": "standard", "curve": True},
    "fab": {
        "norm": "linf",
        "steps": 50,
        "restarts": 1,
        "candidates": 9,
        "bias": 0.1,
        "overshoot": 0.05,
        "backward": 0.9,
    },
    "fab_t": {"norm": "linf", "steps": 50, "targets": 9, "bias": 0.1, "overshoot": 0.05, "backward": 0.9},
    "fgsm": {"norm": "linf", "loss": "cross_entropy"},
    "fmn": {"norm": "linf", "steps": 50, "step": None, "growth": 0.05},
    "foolbox": {"eps": None, "norm": "linf"},
    "hopskipjump": {"norm": "linf", "steps": 1000, "probes": 20},
    "mifgsm": {"norm": "linf", "steps": 10, "step": None, "decay": 1.0, "loss": "cross_entropy"},
    "noise": {"norm": "linf", "steps": 100},
    "pgd": {"norm": "linf", "steps": 40, "step": None, "restarts": 1, "loss": "cross_entropy"},
    "ray": {
        "direction": "sign",
        "norm": "linf",
        "cap": None,
        "steps": 16,
        "tolerance": 1e-5,
        "root": "chandrupatla",
        "loss": "cross_entropy",
    },
    "spatial": {"steps": 10, "max_translation": 0.1, "max_rotation": 30.0, "grid": False, "padding": "zeros"},
    "square": {"norm": "linf", "steps": 1000, "share": 0.8},
    "torchattacks": {"eps": None, "norm": "linf"},
}
COUNT, ABOVE_ZERO, SHARE = ([1, 2], [0, -1]), ([1e-6, 1e6], [0.0, -1.0, math.inf]), ([1e-6, 0.999], [0.0, 1.0])
ENDS = {
    "eps": ([1e-6, 1.0], [0.0, -0.1, 1.001, 8.0]),
    "cap": ([1e-6, 1.0], [0.0, 1.001]),
    "max_translation": ([0.0, 1.0], [-0.001, 1.001]),
    "max_rotation": ([0.0, 180.0], [-0.001, 180.1]),
    "kappa": ([0.0, 1e6], [-0.001, math.inf]),
    "levels": ([2, None], [1]),
    "norm": (["linf", "l2"], ["l3"]),
    "loss": (["cross_entropy", "margin"], ["crossentropy"]),
    "padding": (["zeros", "reflection"], ["mirror"]),
    "preset": (["quick", "standard"], ["slow"]),
    "root": (["itp", "bisection"], ["newton"]),
    **dict.fromkeys(("steps", "restarts", "targets", "rounds", "inner", "candidates", "probes"), COUNT),
    **dict.fromkeys(("step", "price", "overshoot", "init_norm", "tolerance", "decay"), ABOVE_ZERO),
    **dict.fromkeys(("gamma", "growth", "share", "bias", "backward"), SHARE),
}
FREE = {"curve", "direction", "grid"}
OWN = {name: fields for name, fields in DEFAULTS.items() if name not in {"art", "callable", "foolbox", "torchattacks"}}


def built(name, **given):
    factory = resolve("attack", name)
    sized = "eps" in {field.name for field in dataclasses.fields(factory)}
    return factory(**({"eps": 8 / 255} if sized else {}) | given)


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_a_plan_leaves_out_stays_what_it_was(name):
    """Names leave defaults out, so another default would be another attack under the old name."""
    fields = dataclasses.fields(resolve("attack", name))
    assert DEFAULTS[name] == {each.name: each.default for each in fields if each.default is not dataclasses.MISSING}


@pytest.mark.parametrize(
    ("name", "field"),
    [(name, field) for name in OWN for field in [*OWN[name], *["eps"][: hasattr(built(name), "eps")]]],
)
def test_a_hyper_parameter_may_be_what_it_may_and_no_more(name, field):
    if field in FREE or (field == "eps" and built(name).eps is None):
        return
    allowed, refused = ENDS[field]
    for value in allowed:
        assert getattr(built(name, **{field: value}), field) == value
    for value in refused:
        with pytest.raises((InputError, UnknownNameError), match=rf"`{field}`|unknown {field}"):
            built(name, **{field: value})


def test_a_ball_of_another_norm_may_be_wider_than_the_range_of_a_pixel():
    for norm in ("l2", "l1"):
        check_eps(3.0, norm)
        for eps in (0.0, -1.0, math.inf):
            with pytest.raises(InputError, match="`size` must be positive and finite"):
                check_eps(eps, norm, "size")


def test_the_usual_slip_is_named_where_it_was_made():
    with pytest.raises(InputError, match=r"Did you mean 8/255\?"):
        check_eps(8.0)
    with pytest.raises(InputError, match=r"got -8\.$"):
        check_eps(-8.0)


def test_an_attack_from_elsewhere_needs_no_ball_and_none_where_changes_have_no_size():
    check_external(None, "none")
    check_external(None, "l1")
    check_external(3.0, "l1")
    for eps, norm, words in ((0.1, "none", "no ball"), (3.0, "linf", r"\(0, 1\]"), (0.1, "l3", "l3")):
        with pytest.raises((InputError, UnknownNameError), match=words):
            check_external(eps, norm)


def test_nothing_given_stands_for_a_default():
    check_above_zero("step", None)
    check_at_least_zero("kappa", 0.0)
    with pytest.raises(InputError, match="`kappa` must be at least 0"):
        check_at_least_zero("kappa", -1e-9)
