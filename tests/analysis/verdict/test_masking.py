"""Robustness that is a mask, by the trial of it or by a check of gradients that mislead."""

import shutil

import pytest
from tests import tiny

from demur.analysis import analyse
from demur.analysis.run_folder import Run
from demur.analysis.verdict.checks import checks
from demur.files import read_json, write_json
from demur.report import render, words
from demur.report.first_screen import FirstScreen
from demur.report.text_outputs import summary

OF = 100
NAME = "robustness is no mask"
MASKED = "Looks robust: it is masked."
BREACHES = [
    {"attack": "the same on the logits", "count": 30},
    {"attack": "points made on another model", "count": 20},
    {"attack": "queries", "count": 10},
]
SAID = (
    f"{MASKED} 60 of 100 images stand against ±5 % per pixel by the usual attack, through the softmax in single "
    "precision, and 4 where every image could be turned grey. Of the 60, 31 fall: 30 to the same on the logits, 20 to "
    "points made on another model and 10 to queries."
)


def with_facts(folder, tmp_path, **changes):
    run = shutil.copytree(folder, tmp_path / "run")
    path = run / "facts" / "trials.json"
    write_json(path, {**{k: v for k, v in read_json(path).items() if k != "mask"}, **changes})
    return tiny.reseal(run)


def mask(**changes):
    found = {"eps": 0.05, "norm": "linf", "blank": 90, "stood": 60, "grey": 4, "exposed": 31, "breaches": BREACHES}
    return found | {"of": OF} | changes


@pytest.mark.parametrize(
    ("changes", "state", "count"),
    [
        ({}, "warn", 31),
        ({"exposed": 5}, "pass", 5),
        ({"exposed": 6}, "warn", 6),
        ({"exposed": 0, "grey": 6}, "warn", 6),
        ({"exposed": 0, "grey": 5, "stood": 100}, "pass", 5),
    ],
)
def test_the_check_warns_of_more_than_a_twentieth(folder, tmp_path, changes, state, count):
    run = with_facts(folder, tmp_path, mask=mask(**changes))
    (found,) = (check for check in checks(Run(run)) if check.name == NAME)
    assert (found.state, found.count, found.of, found.bears_on) == (state, count, OF, "attacks")
    assert ("it sees no gradient" in found.sentence) is (state == "warn")
    assert (analyse(run).masking is not None) is (state == "warn")


def test_the_first_screen_says_so_with_the_numbers(folder, tmp_path):
    results = analyse(with_facts(folder, tmp_path, mask=mask()))
    first = FirstScreen.of(results)
    assert first.mask == SAID
    assert SAID in summary(results, first)
    assert render(results).count(SAID) == 2
    assert first.manipulation_short.startswith(
        f"{MASKED} Through the softmax 60 of 100 stand, 4 where all could be turned grey; 31 fall otherwise. "
    )
    assert MASKED in words(results)
    assert results.void("attacks") is None
    assert first.manipulation == FirstScreen.of(results.model_copy(update={"masking": None})).manipulation


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        ("blind", "Images that fell only to Square, which sees no gradient"),
        ("transfer", "Images that fell only to points made on another model"),
        ("noise", "Images that random noise fools and an attack with gradients of the same size does not"),
    ],
)
def test_gradients_that_are_there_and_mislead_are_a_mask_too(folder, tmp_path, finding, said):
    found = {"name": finding, "count": 40, "of": OF, "samples": [str(k) for k in range(40)]}
    results = analyse(with_facts(folder, tmp_path, mask=mask(exposed=0, grey=0), findings=[found]))
    assert results.void("attacks") is not None
    assert FirstScreen.of(results).mask == f"{MASKED} {said}: 40 of 100."


@pytest.mark.parametrize(("finding", "count"), [("blind", 0), ("blind", 4), ("more_steps", 60)])
def test_no_other_check_makes_a_mask(folder, tmp_path, finding, count):
    found = {"name": finding, "count": count, "of": OF, "samples": [str(k) for k in range(count)]}
    results = analyse(with_facts(folder, tmp_path, findings=[found]))
    assert results.masking is None
    assert FirstScreen.of(results).mask is None
    assert MASKED not in render(results) + words(results)


def test_a_sound_run_has_the_check_and_no_mask(folder):
    results = analyse(folder)
    assert [(check.state, check.count) for check in results.checks if check.name == NAME] == [("pass", 0)]
    assert results.masking is None
