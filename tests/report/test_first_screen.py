"""The first screen in words: short, plain, and honest in every state."""

import pytest

from demur.report import render, words
from demur.report.first_screen import FirstScreen
from demur.report.text_outputs import LINES, summary
from tests.report.example_results import STATES, base, condition, guarantee, run
from tests.report.perturbation_results import no_end, no_reach, search
from tests.report.simulated_scores import share, undefined


@pytest.mark.parametrize("state", STATES)
def test_words_fit_a_terminal(state):
    lines = words(run(state)).splitlines()
    assert 8 <= len(lines) <= LINES
    assert not any(line.endswith("…") for line in lines)
    assert max(map(len, lines)) <= 100
    assert [line for line in lines if not line.startswith("  ")][-1].startswith("Next: ")


def test_images_that_could_not_be_read_are_counted_on_the_first_screen_of_each_output():
    results = run("issued")
    made = results.provenance
    total = sum(made.splits.values())
    found = results.model_copy(update={"provenance": made.model_copy(update={"failed_samples": 7})})
    said = f"7 of {total:,} images could not be read"
    assert f"Measurement: {said}; " in words(found)
    assert f"- Unreadable: {said} and were left out." in summary(found, FirstScreen.of(found))
    assert f"{said} and were left out." in render(found)
    for text in (words(results), summary(results, FirstScreen.of(results)), render(results)):
        assert "images could not be read" not in text


def test_words_fit_even_when_everything_is_long():
    long = "a very long sentence that goes on " * 40
    results = run("issued").model_copy(
        update={"next_step": long, "out_of_scope": (long, long), "purpose": {"abstentions_go_to": long}}
    )
    lines = words(results).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 100
    assert sum(line.endswith("…") for line in lines) >= 3  # what never ends is cut, with a sign


def test_the_guarantee_in_words():
    lines = words(run("issued")).splitlines()
    assert lines[:6] == [
        "✔ Guarantee issued: fashion on fashion. Yes, with the guard on, for images like those measured.",
        "When it answers, at most 2 in 100 answers are wrong (95 % confidence, also that it answers at least",
        "  68 of 100; 4,000 labelled images, look 1).",
        "It answers where msp uncertainty ≤ 0.2188: 70 of 100 images; 30 go to a person. Of 1,000 images a",
        "  day about 299 go to a person. Without the guard: 8 in 100 answers are wrong.",
        "Check on 4,012 unseen images: 34 wrong of 2,814 answered.",
    ]


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ("issued", "Yes"),
        ("too_few_labels", "Not yet"),
        ("model_too_weak", "No."),
        ("measurement_failed", "Unknown"),
        ("undeclared", "Undecided"),
    ],
)
def test_each_state_answers_may_i_use_it(state, answer):
    assert FirstScreen.of(run(state)).verdict.answer.startswith(answer)


def test_a_refusal_says_how_many_labels_are_missing():
    said = " ".join(words(run("too_few_labels")).split())
    assert "120 labelled images cannot prove “at most 2 in 100 wrong”; about 456 are needed at look 2" in said


def test_a_refusal_never_understates_what_could_be_kept():
    assert "the lowest seen is 12 in 100" in FirstScreen.of(run("model_too_weak")).verdict.headline


@pytest.mark.parametrize(
    ("wrong", "kept"), [(41, "holds"), (42, "undecided"), (71, "undecided"), (72, "broken")]
)  # the exact 95 % intervals of 41 and 72 of 2,800 end at 1.98 % and begin at 2.02 %
def test_the_check_says_whether_the_guarantee_was_kept(wrong, kept):
    results = run("issued").model_copy(update={"guarantee": guarantee(test_wrong=wrong, test_answers=2800)})
    first = FirstScreen.of(results)
    assert first.holds == kept
    assert first.verdict.answer.startswith("Yes") is (kept != "broken")


def test_hundreds_add_up_to_a_hundred():
    for state in STATES:
        for picture in FirstScreen.of(run(state)).hundreds:
            assert picture.right + picture.wrong + picture.to_person == 100
    guarded, bare = FirstScreen.of(run("issued")).hundreds
    assert (guarded.right, guarded.wrong, guarded.to_person) == (69, 1, 30)
    assert (bare.right, bare.wrong, bare.to_person) == (92, 8, 0)


def severities(*risks):
    rows = (
        condition(f"fog(severity={at})", "fog", "corruption", f"fog {at}", at, 0.9, 0.5, risk, guaranteed=True)
        for at, risk in enumerate(risks, 1)
    )
    return FirstScreen.of(run("issued").model_copy(update={"conditions": tuple(rows)})).corruptions[0]


@pytest.mark.parametrize(
    ("risks", "summary"),
    [
        ((0.01, 0.012), "Fog ✔ at every severity"),
        ((0.01, 0.019), "Fog ✔ to 1, ? undecided from 2 (38/2,006)"),
        ((0.01, 0.05, 0.01), "Fog ✔ to 1, ✖ from 2 (100/2,006)"),
        ((0.05, 0.06), "Fog ✖ from 1 (100/2,006)"),
    ],
)
def test_a_family_is_summed_up_by_where_it_breaks(risks, summary):
    assert severities(*risks).summary == summary


def test_severities_are_sorted():
    results = run("issued")
    mixed = results.model_copy(update={"conditions": results.conditions[::-1]})
    for family in FirstScreen.of(mixed).corruptions:
        assert [cell.level for cell in family.cells] == ["1", "2", "3", "4", "5"]


def test_an_undefined_smallest_change_gives_its_reason():
    results = run("issued")
    attack = results.manipulation.model_copy(
        update={"median_distance": undefined("fewer than half of the answers flipped")}
    )
    first = FirstScreen.of(results.model_copy(update={"manipulation": attack}))
    assert first.manipulation[0] == "Change that flips the answer: — (fewer than half of the answers flipped)."


def test_other_norms_are_named():
    results = run("issued")
    attack = results.manipulation.model_copy(update={"norm": "l2", "median_distance": share(0.5, 100)})
    first = FirstScreen.of(results.model_copy(update={"manipulation": attack}))
    assert "0.5 (l2)" in first.manipulation[0]


def test_a_class_that_is_never_answered_has_no_risk():
    results = run("issued")
    row = results.worst_class.row.model_copy(
        update={"coverage": share(0.0, 401), "risk": undefined("nothing answered")}
    )
    worst = results.worst_class.model_copy(update={"row": row, "by": "accuracy"})
    assert (
        FirstScreen.of(results.model_copy(update={"worst_class": worst})).worst_detail
        == "With the guard it answers 0 of 100 of them."
    )


def test_a_failed_measurement_shows_no_guarantee_in_words():
    broken = run("measurement_failed").model_copy(
        update={"guarantee": guarantee(), "conditions": base(True)["conditions"]}
    )
    said = words(broken)
    assert "at most" not in said
    assert "✔" not in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "No attack was run; along one direction ±0.7 % per pixel flips half the answers."),
        ({"norm": "l2"}, "No attack was run; along one direction L2 0.00666 flips half the answers."),
        ({"median": no_end()}, "Not measured: no attack was run."),
        ({"median": no_reach()}, "Not measured: no attack was run."),
    ],
)
def test_without_an_attack_a_search_along_a_direction_is_told(changes, said):
    results = run("issued").model_copy(update={"manipulation": None, "epsilon": (search().model_copy(update=changes),)})
    first = FirstScreen.of(results)
    assert (first.manipulation, first.manipulation_short) == ((said,), said)
    assert f"Manipulation: {said}" in words(results)
