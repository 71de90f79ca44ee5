"""Did hardening help? Every answer, and that none calls robust what its own checks call masked."""

import pytest
from tests.analysis import hardened_runs as made

from demur.analysis.compare_runs import compare
from demur.analysis.comparison.hardening import hardening

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
    assert only.sentence.startswith(
        f"Worst case up to 0.1 (L∞): A is right on {one:.1f} %, B on {other:.1f} % of 120 images, "
    )
    assert "Clean images: A is right on " in only.sentence
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
    assert only.sentence == "No attack is in the plans of both A and B."


def test_every_later_run_has_an_answer(tmp_path):
    folders = [made.run(tmp_path / "a"), made.run(tmp_path / "b", **STRONG), made.run(tmp_path / "c", seed=3)]
    assert [(each.second, each.answer) for each in compare(folders).hardening] == [
        ("B", "yes"),
        ("C", "not beyond noise"),
    ]


TRIAL = made.FAILED | {"name": "robustness is no mask", "state": "warn", "count": 80}


def test_a_mask_that_the_attacks_of_the_plan_see_through_is_called_one(tmp_path):
    found, only = answer(tmp_path, {}, {"seed": 3, "failed": [TRIAL]})
    assert only.answer == "masked"
    assert only.sentence.startswith("Images whose gradient was of no use: 80 of 90. Worst case up to 0.1 (L∞): A is ")
    assert "void" not in {each.difference("B").outcome for each in found.phases}


def test_a_gain_that_stands_behind_the_mask_is_one(tmp_path):
    assert answer(tmp_path, {}, STRONG | {"failed": [TRIAL]})[1].answer == "yes"


def test_an_attack_that_was_too_weak_is_no_mask(tmp_path):
    weak = made.FAILED | {"name": "steps reach the edge"}
    _, only = answer(tmp_path, {}, STRONG | {"failed": [weak]})
    assert only.answer == "unknown"
    assert only.sentence.startswith("B's own checks of the measurement failed (steps reach the edge, 70 of 90).")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two runs that differ by no more than noise, and how to say that they differ."""
    root = tmp_path_factory.mktemp("plain")
    found = compare((made.run(root / "a"), made.run(root / "b", seed=3)))

    def told(**outcomes):
        phases = [
            phase.model_copy(update={"title": name, "kind": kind, "differences": (difference,)})
            for name, (kind, outcome, points) in outcomes.items()
            for phase in found.phases[:1]
            for difference in [changed(phase.difference("B"), outcome, points)]
        ]
        return hardening(phases, found.measurements, 5)[0]

    return told


def changed(found, outcome, points):
    value = found.difference.model_copy(update={"value": points / 100})
    return found.model_copy(update={"outcome": outcome, "difference": value})


def test_better_at_one_size_and_worse_at_another_is_said_with_both(plain):
    only = plain(
        Small=("worst case", "better", 20), Middle=("worst case", "noise", 1), Large=("worst case", "worse", -9)
    )
    assert (only.answer, only.headline) == (
        "mixed",
        "In part: B is harder to fool than A at some sizes, easier at others",
    )
    order = [only.sentence.index(words) for words in ("Small: A is right", "Large: A is right", "than noise: Middle.")]
    assert order == sorted(order)


def test_a_gain_at_one_size_says_where_there_is_none(plain):
    only = plain(Small=("worst case", "better", 20), Large=("worst case", "noise", 1), Clean=("clean", "noise", 0))
    assert only.answer == "yes"
    assert "No more than noise: Large. Clean images: A is right on " in only.sentence


def test_what_one_attack_alone_would_say_is_contradicted(plain):
    only = plain(Fast=("attack", "better", 40), Small=("worst case", "noise", 0))
    assert only.answer == "not beyond noise"
    assert "One attack alone would say otherwise (Fast); all together do not." in only.sentence


def test_without_a_worst_case_the_attacks_decide(plain):
    assert plain(Fast=("attack", "better", 40)).answer == "yes"
    assert plain(Fast=("attack", "worse", -40), Clean=("clean", "worse", -3)).answer == "no"
