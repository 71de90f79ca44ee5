"""Names within names, and lists, become things and names again."""

import sys
import types
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from demur.errors import InputError, UnknownNameError
from demur.registry import TABLES, build, describe, name_of, parse, registered_as
from demur.signals.feature_distances import KNN
from demur.signals.softmax_scores import MSP, Energy
from demur.signals.stack import Stack
from demur.signals.temperature import Tempered


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Lists of plain values."""

    unit: ClassVar[str] = "layers"

    layers: tuple[str, ...] = ()
    edges: tuple[float, ...] = (0.5,)
    attacks: tuple[object, ...] = field(default=(), metadata=registered_as("attack"))


@pytest.mark.parametrize(
    ("text", "thing", "canonical"),
    [
        ("tempered(signal=energy, temperature=2)", Tempered(signal=Energy(), temperature=2), None),
        ("tempered(signal=msp)", Tempered(), "tempered"),
        (
            "tempered(temperature=2.0, signal=tempered(signal=energy(temperature=3.0)))",
            Tempered(signal=Tempered(signal=Energy(temperature=3.0)), temperature=2.0),
            "tempered(signal=tempered(signal=energy(temperature=3.0)), temperature=2.0)",
        ),
        ("stack(signals=[msp, knn(k=10)])", Stack(signals=(MSP(), KNN())), "stack(signals=[msp, knn])"),
    ],
)
def test_a_name_may_hold_names(text, thing, canonical):
    built = build("signal", text)
    assert built == thing
    assert describe(parse(text).name, built) == name_of("signal", built) == (canonical or text)
    assert build("signal", name_of("signal", built)) == built


@pytest.fixture
def listening(monkeypatch):
    """A registered signal of lists; tests are imported under names of their own, so its module is put in by hand."""
    module = types.ModuleType(__name__)
    module.Listening = Listening
    monkeypatch.setitem(sys.modules, __name__, module)
    monkeypatch.setitem(TABLES["signal"], "listening", f"{__name__}:Listening")


def test_a_list_becomes_a_tuple_and_a_list_again(listening):
    text = "listening(attacks=[fgsm(eps=0.5)], edges=[0.25, 1], layers=['a', 'b'])"
    built = build("signal", text)
    assert (built.layers, built.edges, built.attacks[0].eps) == (("a", "b"), (0.25, 1), 0.5)
    assert describe("listening", built) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listening(layers='a')", "`layers` must be a list, each of type str; got 'a'"),
        ("listening(layers=[1])", "`layers` must be a list, each of type str"),
        ("listening(edges=[True])", "`edges` must be a list, each of type float"),
        ("listening(edges=[msp])", r"`edges` must be a list, each of type float"),
        ("listening(attacks=['fgsm'])", "`attacks` must be a list, each the name of an attack"),
        ("tempered(signal='msp')", "`signal` must be the name of a signal; got 'msp'"),
        ("tempered(signal=[msp])", "`signal` must be the name of a signal; got"),
        ("conductance(estimator=5)", "`estimator` must be of type str or Estimator; got 5"),
        ("energy(temperature=msp)", "`temperature` must be of type float; got msp"),
        ("stack(signals=msp)", "`signals` must be a list, each the name of a signal; got msp"),
    ],
)
def test_a_value_of_another_shape_is_refused(text, words, listening):
    with pytest.raises(InputError, match=words):
        build("signal", text)


def test_an_unknown_name_inside_a_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown signal 'energi'. Did you mean 'energy'"):
        build("signal", "tempered(signal=energi)")


def test_a_thing_without_a_name_is_refused():
    with pytest.raises(InputError, match="Listening has no name among the signals"):
        name_of("signal", Listening())


@pytest.mark.parametrize("text", ["pgd(eps=0.1, steps=1000000000)", "pgd(eps=0.1, restarts=1000001)"])
def test_a_count_that_would_never_end_is_refused(text):
    with pytest.raises(InputError, match="must be at most 1,000,000; got 1,000,0"):
        build("attack", text)
