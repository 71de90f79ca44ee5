import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import InputError, UnknownNameError
from demur.registry.gate_rules import CONDITION, SIGNAL, SUBJECTS, gates_sha256, read_gate

KEYS = [
    *(f"clean.{measure}" for measure in CONDITION),
    *(f"signals.energy(temperature=0.5).{measure}" for measure in SIGNAL),
    *(f"{subject}.{measure}" for subject, measures in SUBJECTS.items() for measure in measures),
]


@pytest.mark.parametrize("key", KEYS)
def test_every_measure_reads_back_from_its_one_spelling(key):
    gate = read_gate(key, "true" if key == "guarantee.issued" else ">= 0.25")
    assert f"{gate.subject}.{gate.measure}" == key
    assert read_gate(key, gate.rule) == gate


@pytest.mark.parametrize(
    ("key", "subject", "condition", "signal"),
    [
        ("clean.accuracy", "clean", "clean", None),
        ("pgd(eps=0.1, steps=20).risk", "pgd(eps=0.1, steps=20)", "pgd(eps=0.1, steps=20)", None),
        ("signals.energy(temperature=0.5).auroc", "signals.energy(temperature=0.5)", None, "energy(temperature=0.5)"),
        ("worst_class.coverage", "worst_class", None, None),
    ],
)
def test_a_key_says_what_it_is_about(key, subject, condition, signal):
    gate = read_gate(key, "<= 0.5")
    assert (gate.subject, gate.condition, gate.signal) == (subject, condition, signal)


@given(bar=st.floats(0, 1), relation=st.sampled_from([">=", "<=", ">", "<"]), value=st.floats(-1, 2))
def test_a_rule_compares_as_it_is_written(bar, relation, value):
    gate = read_gate("clean.accuracy", f" {relation}{bar!r} ")
    assert gate.bar == bar
    assert gate.holds(value) is eval(f"{value!r} {relation} {bar!r}")
    assert not gate.holds(math.nan)
    assert gate.upward is (relation[0] == ">")


def test_a_fraction_and_one_spelling():
    assert read_gate("clean.accuracy", ">=4 / 5").rule == read_gate("clean.accuracy", ">= 0.80").rule == ">= 0.8"
    assert read_gate("guarantee.issued", " true").rule == "true"
    assert read_gate("guarantee.issued", "false").holds(0.0)


@pytest.mark.parametrize(
    ("key", "rule", "words"),
    [
        ("accuracy", ">= 0.8", "a gate's key is SUBJECT.MEASURE"),
        ("clean.acuracy", ">= 0.8", "Did you mean 'clean.accuracy'?"),
        ("signals.msp.aurocc", ">= 0.8", "Did you mean 'signals.msp.auroc'?"),
        ("checks.fail", "<= 0", "Did you mean 'checks.failed'?"),
        ("guarantee.isued", "true", "Did you mean 'guarantee.issued'?"),
        ("clean.accuracy", "0.8", "a rule is >=, <=, > or < and a number"),
        ("clean.accuracy", ">= 80 %", "Write 80 % as 0.80"),
        ("clean.accuracy", ">= 80", "must compare with a number in [0, 1]"),
        ("clean.accuracy", "== 0.8", "a rule is"),
        ("clean.accuracy", ">= 1/0", "does not parse"),
        ("clean.accuracy", ">= 0.1.2", "does not parse"),
        ("clean.accuracy", "true", "a rule is"),
        ("guarantee.issued", ">= 1", 'write "true" or "false"'),
    ],
)
def test_a_gate_that_does_not_read_says_why(key, rule, words):
    with pytest.raises(InputError) as caught:
        read_gate(key, rule)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_measure_is_an_unknown_name():
    with pytest.raises(UnknownNameError, match=r"Known: checks\.failed, checks\.warned\."):
        read_gate("checks.accuracy", ">= 0.5")


def test_the_hash_of_gates_forgets_their_order_and_nothing_else():
    one, two = (
        {"clean.accuracy": ">= 0.8", "clean.risk": "<= 0.1"},
        {"clean.risk": "<= 0.1", "clean.accuracy": ">= 0.8"},
    )
    assert gates_sha256(one) == gates_sha256(two)
    assert len({gates_sha256(gates) for gates in (one, {}, one | {"clean.risk": "<= 0.2"})}) == 3
