import re

import pytest

from demur.attacks.pgd import PGD
from demur.errors import InputError, UnknownNameError
from demur.pipeline.plan.conditions import CLEAN, conditions, default_conditions, eps_words

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def expanded(shape):
    return conditions(default_conditions(shape), shape)


@pytest.mark.parametrize(
    ("shape", "sizes", "ensembles"),
    [
        (GREY, (0.05, 0.1, 0.2, 0.3), (0.05, 0.3)),
        ((1, 8, 8), (0.05, 0.1, 0.2, 0.3), (0.05, 0.3)),
        (COLOUR, tuple(k / 255 for k in (0.5, 1, 2, 4, 8)), (2 / 255,)),
        ((1, 64, 64), tuple(k / 255 for k in (0.5, 1, 2, 4, 8)), (2 / 255,)),
    ],
)
def test_the_default_grid(shape, sizes, ensembles):
    found = expanded(shape)
    assert found[0] == CLEAN
    assert tuple(each.severity for each in found if each.family == "fgsm") == pytest.approx(sizes)
    (worst,) = (each for each in found if each.keep == "worst")
    assert worst.severity == pytest.approx(ensembles[0])
    nearest = [each for each in found if each.keep == "nearest"]
    assert {each.family for each in nearest} == {"ensemble"}
    assert [each.severity for each in nearest] == pytest.approx(ensembles)
    assert [each.unlimited for each in nearest] == [True, False][: len(ensembles)], "one search is enough"
    for family in ("gaussian_noise", "gaussian_blur", "low_light"):
        assert [each.severity for each in found if each.family == family] == [1, 2, 3, 4, 5]
    assert len(found) == 1 + len(sizes) + 1 + len(ensembles) + 15


@pytest.mark.parametrize(("shape", "sizes"), [(GREY, (0.05, 0.3)), (COLOUR, (2 / 255,))])
def test_without_gradients_the_usual_attacks_follow_none(shape, sizes):
    found = conditions(default_conditions(shape, gradients=False), shape)
    attacks = [each for each in found if each.attack is not None]
    assert all(each.attack.gradient_free for each in attacks)
    assert [each.severity for each in attacks if each.attack.blind] == pytest.approx(sizes)
    assert [each.severity for each in attacks if each.keep == "worst"] == pytest.approx(sizes[:1])
    assert [each.name for each in attacks if each.unlimited] == ["hopskipjump"]
    others = [each for each in expanded(shape) if each.attack is None]
    assert [each for each in found if each.attack is None] == others


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_canonical_names_are_unique_and_name_the_same_conditions_again(shape):
    found = expanded(shape)
    names = [each.name for each in found]
    assert len(set(names)) == len(names)
    again = conditions(names, shape)
    assert [each.name for each in again] == names
    assert [(each.attack, each.corruption, each.keep, each.sentence) for each in again] == [
        (each.attack, each.corruption, each.keep, each.sentence) for each in conditions([e.name for e in again], shape)
    ]


def test_lists_are_one_condition_for_each_combination():
    found = conditions(["pgd(eps=[0.1, 0.2], steps=[3, 5])"], GREY)
    assert [each.name for each in found] == [
        "clean",
        "pgd(eps=0.1, steps=3)",
        "pgd(eps=0.1, steps=5)",
        "pgd(eps=0.2, steps=3)",
        "pgd(eps=0.2, steps=5)",
    ]
    assert found[3].attack == PGD(eps=0.2, steps=3)


def test_clean_comes_first_and_nothing_twice():
    found = conditions(
        ["low_light(severity=[2, 2])", "clean", "low_light(severity=2)", "fgsm(eps=1/4)", "fgsm(eps=.25)"], GREY
    )
    assert [each.name for each in found] == ["clean", "low_light(severity=2)", "fgsm(eps=0.25)"]


def test_an_empty_list_is_refused():
    with pytest.raises(InputError, match=r"`eps` of fgsm is an empty list"):
        conditions(["fgsm(eps=[])"], GREY)


def test_what_an_attack_keeps():
    first, worst, nearest = conditions(["pgd(eps=0.1)", "pgd(eps=0.1, keep='worst')", "fmn"], GREY)[1:]
    assert (first.keep, worst.keep, nearest.keep) == ("first", "worst", "nearest")
    assert first.attack == worst.attack
    assert worst.sentence == f"{first.sentence}, worst point kept"
    assert nearest.severity == 0
    assert (first.norm, nearest.norm, CLEAN.norm) == ("linf", "linf", None)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("fgsm(eps=8)", InputError, "Did you mean 8/255?"),
        ("pgd(eps=0)", InputError, "`eps`"),
        ("pgd(eps=0.1, keep='wurst')", UnknownNameError, "Did you mean 'worst'?"),
        ("pgd(eps=0.1, kep='worst')", UnknownNameError, "unknown field 'kep'"),
        ("gausian_noise(severity=1)", UnknownNameError, "Did you mean 'gaussian_noise'?"),
        ("low_light(severity=6)", InputError, "`severity` must be 1, 2, 3, 4 or 5; got 6."),
        ("clean(eps=1)", InputError, "the clean condition takes no fields; got eps."),
        ("low_light(severity=1, keep='first')", UnknownNameError, "unknown field 'keep'"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(text, error, words):
    with pytest.raises(error, match=re.escape(words)):
        conditions([text], GREY)


@pytest.mark.parametrize(
    ("eps", "said"),
    [
        (2 / 255, "2/255"),
        (0.5 / 255, "0.5/255"),
        (0.0078431373, "2/255"),
        (8 / 255, "8/255"),
        (0.05, "5 % of the pixel range"),
        (0.123, "12.3 % of the pixel range"),
    ],
)
def test_an_eps_as_people_say_it(eps, said):
    assert eps_words(eps) == said


def test_the_sentence_names_the_parameter_of_the_size():
    small, large = (conditions(["gaussian_blur(severity=5)"], shape)[1] for shape in (COLOUR, (3, 224, 224)))
    assert small.sentence == "Gaussian blur of standard deviation 1 pixels"
    assert large.sentence == "Gaussian blur of standard deviation 6 pixels"
