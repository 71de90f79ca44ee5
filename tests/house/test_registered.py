"""Everything with a registered name is documented, sourced, checked against a reference and survives its own name."""

import dataclasses
import re
from pathlib import Path

import pytest
from tests.corruptions.test_corruptions import REFERENCES as CORRUPTIONS
from tests.signals.test_signals import REFERENCES as SIGNALS

from demur.errors import DemurError
from demur.registry import TABLES, build, describe, names, resolve

ROOT = Path(__file__).parents[2]
PAGES = {"attack": "attacks", "corruption": "corruptions", "data": "data", "model": "models", "policy": "policies",
         "recipe": "recipes", "signal": "signals", "zoo": "models"}  # fmt: skip
EVERYTHING = [(kind, name) for kind in TABLES for name in names(kind)]
IDEAS = [(kind, name) for kind, name in EVERYTHING if kind in {"attack", "corruption", "recipe", "signal"}]
DATACLASSES = [(kind, name) for kind, name in EVERYTHING if kind not in {"data", "model", "zoo"}]
NEEDED = {"eps": 2 / 255, "severity": 3}
OTHERS = {"eps": 0.1, "severity": 4, "value": None, "steps": 7, "step": 0.03, "loss": "margin", "growth": 0.1,
          "temperature": 2.0,
          "risk": 0.05, "delta": 0.1, "confidence": 0.7, "entropy": 0.5, "signal": "energy(temperature=2.0)",
          "doubt": -3.5, "epochs": 3, "batch": 16, "learning_rate": 0.05, "weight_decay": 0.001, "mirror": False,
          "shift": 0, "balanced": True}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_a_name_resolves_and_says_what_it_is(kind, name):
    assert resolve(kind, name).__doc__.strip()


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_a_name_has_a_section_in_the_reference(kind, name):
    page = ROOT / "docs" / "reference" / f"{PAGES[kind]}.md"
    assert re.search(rf"^#+ `{name}`$", page.read_text(), re.MULTILINE), f"{page.name} has no heading `{name}`"


@pytest.mark.parametrize(("kind", "name"), IDEAS)
def test_an_idea_names_its_source(kind, name):
    assert re.search(r"[A-Z][^\n]* \((19|20)\d\d\)", resolve(kind, name).__doc__)


def test_every_idea_is_checked_against_a_reference():
    assert set(SIGNALS) == set(names("signal"))
    assert set(CORRUPTIONS) == set(names("corruption"))
    oracles = (ROOT / "tests" / "attacks" / "test_attacks.py").read_text()
    assert all(f"{resolve('attack', name).__name__}(" in oracles for name in names("attack"))


@pytest.mark.parametrize(("kind", "name"), DATACLASSES)
def test_a_thing_survives_its_own_name(kind, name):
    factory = resolve(kind, name)
    fields = [field.name for field in dataclasses.fields(factory)]
    plain = factory(**{field: NEEDED[field] for field in fields if field in NEEDED})
    changed = factory(**{field: OTHERS[field] for field in fields})
    again = build(kind, describe(name, plain))
    assert describe(name, again) == describe(name, plain)
    for field, value in dataclasses.asdict(plain).items():
        assert getattr(again, field) == (pytest.approx(value, rel=1e-7) if isinstance(value, float) else value)
    assert build(kind, describe(name, changed)) == changed


@pytest.mark.parametrize(("kind", "name"), DATACLASSES)
def test_an_unknown_field_is_refused_with_the_known_ones(kind, name):
    with pytest.raises(DemurError, match="unknown field 'colour'"):
        build(kind, f"{name}(colour=1)")
