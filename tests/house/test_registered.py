"""Everything with a registered name is documented, sourced, checked against a reference and survives its own name."""

import dataclasses
import re
from pathlib import Path

import pytest
from tests.attribution.test_maps import REFERENCES as MAPS
from tests.corruptions.test_corruptions import REFERENCES as CORRUPTIONS
from tests.signals.test_signals import REFERENCES as SIGNALS

from demur.errors import DemurError
from demur.registry import TABLES, build, describe, names, parse, resolve

ROOT = Path(__file__).parents[2]
PAGES = {"attack": "attacks", "corruption": "corruptions", "data": "data", "map": "maps", "model": "models",
         "policy": "policies", "recipe": "recipes", "signal": "signals", "architecture": "models"}  # fmt: skip
EVERYTHING = [(kind, name) for kind in TABLES for name in names(kind)]
IDEAS = [(kind, name) for kind, name in EVERYTHING if kind in {"attack", "corruption", "map", "recipe", "signal"}]
DATACLASSES = [(kind, name) for kind, name in EVERYTHING if kind not in {"architecture", "data", "model"}]
NEEDED = {
    "low": -0.5,
    "high": 0.5,
    "eps": 2 / 255,
    "severity": 3,
    "attack": parse("PGD"),
    "path": "package.module:function",
}
OTHERS = {"attack": parse("PGD(steps=20, inner=CW(c=[0.5, 1]))"), "path": "mine:nudge", "share": 0.5,
          "max_translation": 0.2, "max_rotation": 10.0, "grid": True, "padding": "reflection",
          "eps": 0.1, "severity": 4, "value": None, "steps": 29, "step": 0.03, "loss": "margin", "growth": 0.1,
          "temperature": 2.0,
          "layers": ("conv1", "conv2"), "binning": "uniform",
          "bins": 9, "edges": (0.0, 0.5, 2.0), "side": "upper", "fusion": "learned",
          "layer": "conv1", "estimator": "lda", "by_class": True, "bits": 3, "median": 3, "strength": 0.25, "search": 5,
          "resample": 0.5, "jpeg": 60, "operator": "gf", "gamma": 0.05, "mutants": 12, "kept": 0.8, "stopping": "sprt",
          "seed": 4,
          "variant": "beta", "p": 3, "largest": 4, "k": 5, "relative": True, "dim": 7, "move": 2, "n": 8,
          "score": "mutual_information", "balance": 0.7, "folds": 3, "penalty": 2.0,
          "signals": ("energy(temperature=2.0)", "stack(signals=[msp, knn(k=5)])"),
          "risk": 0.05, "delta": 0.1, "largest_group": 12, "risks": ("crack=0.01",), "column": "camera",
          "coverage": 0.6, "confidence": 0.7, "entropy": 0.5, "signal": "energy(temperature=2.0)",
          "uncertainty": -3.5, "epochs": 3, "batch": 16, "learning_rate": 0.05, "weight_decay": 0.001, "mirror": False,
          "shift": 0, "balanced": True, "norm": "l2", "as_published": True, "restarts": 2, "decay": 0.5, "targets": 3,
          "rounds": 3, "inner": 30, "price": 2.0, "kappa": 0.75, "levels": 256, "init_norm": 0.5, "candidates": 4,
          "overshoot": 0.04, "backward": 0.8, "sign": "positive", "sigma": 0.3, "preset": "quick", "curve": False,
          "method": "percentile", "level": 0.9, "recall": 0.75, "low": -1.0, "high": 0.25,
          "second": parse("knn(k=5)"), "purpose": "shift", "budget": 0.05,
          "direction": "random", "cap": 0.5,
          "averaging": 0.9, "smoothing": 0.1, "guide": 0.25, "beta": 4.0, "tolerance": 1e-4, "root": "itp"}  # fmt: skip


def unlike(default):
    """Another value of the type of a field that `OTHERS` does not name: numbers grow a little, truths turn."""
    return not default if isinstance(default, bool) else default + (1 if isinstance(default, int) else 0.125)


def another(field):
    """A value of a field that is not its default; a nested name stands for what it describes."""
    value = OTHERS[field.name] if field.name in OTHERS else unlike(field.default)
    kind = field.metadata.get("kind")
    if kind is None:
        return value
    return tuple(build(kind, text) for text in value) if isinstance(value, tuple) else build(kind, value)


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_a_name_resolves_and_says_what_it_is(kind, name):
    assert resolve(kind, name).__doc__.strip()


@pytest.mark.parametrize(("kind", "name"), [pair for pair in EVERYTHING if pair not in IDEAS])
def test_a_name_has_a_section_in_the_reference(kind, name):
    """Ideas are explained by their docstrings, which `demur list KIND NAME` prints."""
    page = ROOT / "docs" / "reference" / f"{PAGES[kind]}.md"
    assert re.search(rf"^#+ `{name}`$", page.read_text(), re.MULTILINE), f"{page.name} has no heading `{name}`"


@pytest.mark.parametrize(("kind", "name"), IDEAS)
def test_an_idea_names_its_source(kind, name):
    assert re.search(r"[A-Z][^\n]* \((19|20)\d\d\)", resolve(kind, name).__doc__)


def test_every_idea_is_checked_against_a_reference():
    assert set(SIGNALS) == set(names("signal"))
    assert set(CORRUPTIONS) == set(names("corruption"))
    assert set(MAPS) == set(names("map"))
    oracles = "".join(path.read_text() for path in (ROOT / "tests" / "attacks").rglob("test_*.py"))
    assert all(f"{resolve('attack', name).__name__}(" in oracles for name in names("attack"))


@pytest.mark.parametrize(("kind", "name"), DATACLASSES)
def test_a_thing_survives_its_own_name(kind, name):
    factory = resolve(kind, name)
    fields = dataclasses.fields(factory)
    plain = factory(**{field.name: NEEDED[field.name] for field in fields if field.name in NEEDED})
    changed = factory(**{field.name: another(field) for field in fields})
    again = build(kind, describe(name, plain))
    assert describe(name, again) == describe(name, plain)
    for field in fields:
        value = getattr(plain, field.name)
        assert getattr(again, field.name) == (pytest.approx(value, rel=1e-7) if isinstance(value, float) else value)
    assert build(kind, describe(name, changed)) == changed


@pytest.mark.parametrize(("kind", "name"), DATACLASSES)
def test_an_unknown_field_is_refused_with_the_known_ones(kind, name):
    with pytest.raises(DemurError, match="unknown field 'colour'"):
        build(kind, f"{name}(colour=1)")
