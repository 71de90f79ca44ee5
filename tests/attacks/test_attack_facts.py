"""What each attack says of itself: to plans, checks, prices and reports."""

import dataclasses

import pytest

from demur.registry import names, parse, resolve

FACTS = {
    "eps": {"apgd", "apgd_t", "bim", "ensemble", "fgsm", "mifgsm", "noise", "pgd", "square"},
    "minimal": {
        "art",
        "callable",
        "cw",
        "ddn",
        "deepfool",
        "ensemble",
        "fab",
        "fab_t",
        "fmn",
        "foolbox",
        "hopskipjump",
        "ray",
        "torchattacks",
    },
    "blind": {"square"},
    "control": {"noise"},
    "external": {"art", "callable", "foolbox", "torchattacks"},
    "gradient_free": {"hopskipjump", "noise", "spatial", "square"},
    "label_only": {"hopskipjump"},
    "random_start": {"apgd", "fab", "pgd"},
    "nested": {"pgd"},
    "no_target": {"art", "callable", "ensemble", "foolbox", "ray", "torchattacks"},
    "no_keep": {"ensemble", "ray"},
}
ASCENT = {"apgd": "many steps", "bim": "many steps", "fgsm": "one step", "mifgsm": "many steps", "pgd": "many steps"}
LOSSES = {"apgd_t": "dlr"} | dict.fromkeys(
    [
        "art",
        "callable",
        "cw",
        "deepfool",
        "fab",
        "fab_t",
        "fmn",
        "foolbox",
        "hopskipjump",
        "noise",
        "spatial",
        "square",
        "torchattacks",
    ],
    "margin",
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
    "fab": (50, 504),
    "fab_t": (450, 904),
    "fgsm": (1, 6),
    "fmn": (50, 104),
    "hopskipjump": (1000, 1004),
    "mifgsm": (10, 24),
    "noise": (100, 104),
    "pgd": (40, 84),
    "ray": (16, 36),
    "spatial": (10, 14),
    "square": (1000, 1004),
}


NEEDED = {"eps": 0.1, "attack": parse("PGD"), "path": "package.module:function"}
OUTSIDE = {"eps": None}  # no ball


@pytest.mark.parametrize("name", names("attack"))
def test_an_attack_says_of_itself_what_is_so(name):
    factory = resolve("attack", name)
    needed = {field.name: NEEDED[field.name] for field in dataclasses.fields(factory) if field.name in NEEDED}
    attack = factory(**needed | (OUTSIDE if name in FACTS["external"] else {}))
    assert {fact for fact in FACTS if getattr(attack, fact)} == {fact for fact, who in FACTS.items() if name in who}
    assert attack.ascent == ASCENT.get(name)
    assert attack.loss == LOSSES.get(name, "cross_entropy")
    assert attack.norm == NORMS.get(name, "linf")
    assert (attack.facts.steps, attack.facts.passes) == PRICES.get(name, (1, 1))
    assert (attack.facts.gradient_free, attack.facts.label_only) == (attack.gradient_free, attack.label_only)
    assert attack.facts.ball == (name in FACTS["eps"])
