"""Did hardening help? Every answer, and that none calls robust what its own checks call masked."""

import pytest
from tests.analysis import hardened_runs as made

from demur.analysis.compare_runs import compare

STRONG = {"strength": 3.0, "seed": 1}


def answer(tmp_path, first, second):
    one, other = made.run(tmp_path / "one", **first), made.run(tmp_path / "two", **second)
    found = compare((one, other))
    (only,) = found.hardening
    return found, only


@pytest.mark.parametrize(
    ("first", "second", "word", "headline"),
    [
        ({}, STRONG, "yes", "Yes: B is harder to fool than A"),
        ({"strength": 0.05}, STRONG | {"accuracy": 0.7}, "at a price", "Yes, at a price: B is harder to fool than A"),
        ({}, {"seed": 3}, "not beyond noise", "Not beyond noise: B is not shown to be harder"),
        (STRONG, {}, "no", "No: B is easier to fool than A"),
    ],
)
def test_the_word_goes_by_the_worst_case_and_the_price_by_clean_images(tmp_path, first, second, word, headline):
    found, only = answer(tmp_path, first, second)
    assert only.answer == word
    assert only.headline.startswith(headline)
    case = next(each for each in found.phases if each.kind == "worst case")
    one, other = (100 * case.cell(letter).value.value for letter in "AB")
    assert only.sentence.startswith(f"Worst case up to 0.1 (L∞): right are A {one:.1f} % and B {other:.1f} % of 120, ")
    assert "Clean images: right are A " in only.sentence
    assert only.sentence.endswith(f"Intervals and p hold for all {found.tested} differences at once.")


def test_what_its_own_checks_call_masked_is_not_called_robust(tmp_path):
    found, only = answer(tmp_path, {}, STRONG | {"failed": [made.FAILED]})
    assert only.answer == "masked"
    assert only.headline == "B looks robust: it is masked"
    assert "That counts for nothing: B's own checks of the measurement failed (gradients are blunt, 70 of 90)." in (
        only.sentence
    )
    outcomes = {each.kind: each.difference("B").outcome for each in found.phases}
    assert outcomes["attack"] == outcomes["worst case"] == "void"
    assert "void" not in {outcomes["clean"], outcomes["corruption"], outcomes["selective"]}


def test_a_mask_that_makes_nothing_look_robust_is_no_answer_either(tmp_path):
    _, only = answer(tmp_path, STRONG, {"failed": [made.FAILED]})
    assert only.answer == "unknown"
    assert only.sentence.startswith("B's own checks of the measurement failed")


def test_a_first_run_that_cannot_be_trusted_shows_nothing(tmp_path):
    found, only = answer(tmp_path, {"failed": [made.FAILED]}, STRONG)
    assert only.answer == "unknown"
    assert only.sentence.startswith("A's own checks of the measurement failed (gradients are blunt, 70 of 90).")
    assert [run.letter for run in found.measurements if run.failed] == ["A"]


def test_a_measurement_that_failed_altogether_voids_every_phase(tmp_path):
    everything = made.FAILED | {"name": "labels fit", "bears_on": "everything"}
    found, only = answer(tmp_path, {}, STRONG | {"failed": [everything]})
    assert only.answer == "unknown"
    assert {each.difference("B").outcome for each in found.phases} == {"void"}


def test_a_check_that_bears_on_other_figures_voids_no_attack(tmp_path):
    found, only = answer(tmp_path, {}, STRONG | {"failed": [made.FAILED | {"bears_on": "maps"}]})
    assert only.answer == "yes"
    assert "void" not in {each.difference("B").outcome for each in found.phases}


def test_without_an_attack_in_both_nothing_is_said(tmp_path):
    _, only = answer(tmp_path, {"without": (made.FGSM, made.ENSEMBLE)}, STRONG | {"without": (made.PGD,)})
    assert only.answer == "unknown"
    assert only.sentence == "No attack is in the plans of both A and B, so nothing is known of it."


def test_every_later_run_has_an_answer(tmp_path):
    folders = [made.run(tmp_path / "a"), made.run(tmp_path / "b", **STRONG), made.run(tmp_path / "c", seed=3)]
    assert [(each.second, each.answer) for each in compare(folders).hardening] == [
        ("B", "yes"),
        ("C", "not beyond noise"),
    ]
