"""Every registered attack that demur's own harness runs, in every norm it comes in, cut to a few steps and targets."""

import dataclasses

from demur.errors import UnknownNameError
from demur.registry import names, resolve

EPS = {"linf": 0.08, "l2": 0.25, "l1": 1.0}


def variants(steps=8):
    """(name, attack) of each."""
    own = [(name, resolve("attack", name)) for name in names("attack")]
    return [(name, attack) for name, factory in own if hasattr(factory, "advance") for attack in _of(factory, steps)]


def in_a_ball(steps=8):
    """Those that stay within a radius."""
    return [(name, attack) for name, attack in variants(steps) if attack.eps is not None]


def called(variant):
    """How a test names one."""
    return f"{variant[0]}-{variant[1].norm}"


def _of(factory, steps):
    fields = {field.name for field in dataclasses.fields(factory)}
    for norm in EPS if "norm" in fields else [None]:
        given = {} if norm is None else {"norm": norm}
        given |= {"eps": EPS[norm or factory.norm]} if "eps" in fields else {}
        try:
            attack = factory(**given)
        except UnknownNameError:
            continue
        yield dataclasses.replace(attack, **{name: few for name, few in _few(steps).items() if name in fields})


def _few(steps):
    return {"steps": steps, "targets": 2, "rounds": 2, "inner": steps}
