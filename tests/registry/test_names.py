import keyword
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import DemurError, InputError, UnknownNameError
from demur.registry import TABLES, Call, build, canonical, describe, lookup, names, parse, resolve

WORDS = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda word: not keyword.iskeyword(word) and word not in {"true", "false"}
)
SHORT_FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: float(f"{value:.8g}"))
PLAIN = st.booleans() | st.integers(-(10**12), 10**12) | SHORT_FLOATS | st.text(max_size=8)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.builds(Call, WORDS, st.dictionaries(WORDS, inner, max_size=2)),
    max_leaves=6,
)
CALLS = st.builds(Call, WORDS, st.dictionaries(WORDS, VALUES, max_size=4))


@given(call=CALLS)
def test_the_canonical_text_reads_back_as_the_same_name(call):
    assert parse(str(call)) == call
    assert str(parse(str(call))) == str(call)


def test_fields_are_sorted_in_the_canonical_text():
    assert str(parse("pgd(steps=20, eps=1/4)")) == "pgd(eps=0.25, steps=20)"


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_a_number_in_a_name_happens_once(value):
    text = canonical("a", {"b": value})
    again = parse(text)
    assert str(again) == text
    assert again.fields["b"] == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("pgd", {}),
        (" pgd( ) ", {}),
        ("pgd(eps=8/255, steps=40)", {"eps": 8 / 255, "steps": 40}),
        ("pgd(eps=[.5/255, 1/255])", {"eps": [0.5 / 255, 1 / 255]}),
        ("pgd(eps=-1)", {"eps": -1}),
        ("pgd(eps=-1/-4)", {"eps": 0.25}),
        ("pgd(loss='margin', fast=True)", {"loss": "margin", "fast": True}),
        ("pgd(fast=true, long=[false, True])", {"fast": True, "long": [False, True]}),
        ("pgd(inner=fgsm(eps=1), other=msp)", {"inner": Call("fgsm", {"eps": 1}), "other": Call("msp", {})}),
    ],
)
def test_names_that_parse(text, fields):
    assert parse(text) == Call("pgd", fields)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it does not parse"),
        ("pgd(", "it does not parse"),
        ("pgd(eps=1, eps=2)", "a field is given twice or not named"),
        ("pgd(\0)", "it does not parse"),
        ("3", "it is not a name"),
        ("True", "it is not a name"),
        ("a.b(c=1)", "it is not a name"),
        ("pgd(8/255)", "every value needs its field's name"),
        ("pgd(*x)", "every value needs its field's name"),
        ("pgd(**x)", "a field is given twice or not named"),
        ("pgd(eps=1/0)", "it divides by zero"),
        ("pgd(eps='a'/2)", "arithmetic takes numbers only"),
        ("pgd(eps=True/2)", "arithmetic takes numbers only"),
        ("pgd(eps=-'a')", "arithmetic takes numbers only"),
        ("pgd(eps=1e999)", "a number is not finite"),
        ("pgd(eps=-1e999)", "a number is not finite"),
        ("pgd(eps=1e300/1e-300)", "a number is not finite"),
        ("pgd(eps=2+2)", "a value is neither"),
        ("pgd(eps=2**9)", "a value is neither"),
        ("pgd(eps=None)", "a value is neither"),
        ("pgd(eps=1j)", "a value is neither"),
        ("pgd(eps=(1, 2))", "a value is neither"),
        ("pgd(eps=[i for i in x])", "a value is neither"),
        ("pgd(eps=lambda: 0)", "a value is neither"),
        ("pgd(eps=__import__('os').system('true'))", "it is not a name"),
    ],
)
def test_names_that_do_not_parse_say_why_and_show_the_way(text, why):
    with pytest.raises(InputError, match="cannot read the name") as caught:
        parse(text)
    assert why in str(caught.value)
    assert "pgd(eps=8/255, steps=40)" in str(caught.value)


@given(text=st.text(max_size=30))
def test_no_text_escapes_as_another_error(text):
    try:
        call = parse(text)
    except InputError:
        return
    assert parse(str(call)) == call


@pytest.mark.parametrize("kind", TABLES)
def test_every_name_resolves_and_is_listed_sorted(kind):
    assert list(names(kind)) == sorted(TABLES[kind])
    for name in names(kind):
        assert callable(resolve(kind, name))


@pytest.mark.parametrize(
    ("kind", "name", "nearest"),
    [("signal", "entropi", "entropy"), ("attack", "pdg", "pgd"), ("corruption", "gausian_blur", "gaussian_blur")],
)
def test_an_unknown_name_offers_the_nearest(kind, name, nearest):
    with pytest.raises(UnknownNameError, match=f"unknown {kind} '{name}'. Did you mean '{nearest}'"):
        lookup(kind, name)


def test_a_name_like_no_other_lists_what_is_known():
    with pytest.raises(UnknownNameError) as caught:
        lookup("signal", "xxxxxxxx")
    assert "Did you mean" not in str(caught.value)
    assert f"Known: {', '.join(sorted(TABLES['signal']))}." in str(caught.value)


def test_an_unknown_field_offers_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"signal 'energy': unknown field 'temprature'. Did you mean 'temperature'"
    ):
        build("signal", "energy(temprature=2)")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("attack", "fgsm"),
        ("attack", "pgd(eps='a')"),
        ("attack", "pgd(eps=0.1, steps=2.5)"),
        ("attack", "pgd(eps=0.1, loss=3)"),
        ("attack", "fmn(step='a')"),
        ("corruption", "low_light"),
        ("corruption", "low_light(severity=1.0)"),
        ("attack", "pgd(eps=[0.1])"),
        ("attack", "pgd(eps=0.1, steps=True)"),
        ("signal", "energy(temperature='hot')"),
        ("policy", "certified(risk='low')"),
        ("policy", "rule(confidence='high')"),
    ],
)
def test_a_missing_or_mistyped_value_is_refused_by_name(kind, text):
    with pytest.raises(DemurError) as caught:
        build(kind, text)
    assert text.partition("(")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "described"),
    [
        ("attack", "pgd(steps=40, eps=1/4)", "pgd(eps=0.25)"),
        ("attack", "pgd(eps=2/255, steps=20)", "pgd(eps=0.0078431373, steps=20)"),
        ("signal", "energy(temperature=1.0)", "energy"),
        ("corruption", "low_light(severity=3)", "low_light(severity=3)"),
        ("policy", "certified(risk=0.02, delta=0.05)", "certified"),
    ],
)
def test_a_thing_is_described_by_what_differs_from_its_defaults(kind, text, described):
    call = parse(text)
    thing = build(kind, call)
    assert describe(call.name, thing) == described
    assert describe(call.name, build(kind, described)) == described


def test_numbers_in_names_keep_their_type():
    assert isinstance(parse("a(b=2.0)").fields["b"], float)
    assert isinstance(parse("a(b=2)").fields["b"], int)
    assert math.isclose(parse("a(b=1/3)").fields["b"], 1 / 3)
