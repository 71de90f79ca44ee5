"""Which class a targeted attack of a plan aims at, and what of that is refused before anything is measured."""

import re

import pytest
import torch
from tests import tiny

from demur.attacks.ensemble import Ensemble
from demur.attacks.external.callable_attack import FunctionAttack
from demur.attacks.pgd import PGD
from demur.errors import InputError, UnknownNameError
from demur.pipeline.plan.conditions import (
    UNTARGETED,
    check_target,
    check_target_class,
    target_classes,
    target_words,
)
from demur.randomness import Keys

CLASSES = ("ant", "bee", "cat", "dog")
ROWS = 400


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(0)
    logits, y = torch.randn(ROWS, 4, generator=generator), torch.randint(4, (ROWS,), generator=generator)
    return logits, y, Keys.of(0, [str(row) for row in range(ROWS)], "goals")


def test_a_class_is_the_goal_of_all_but_its_own_images(rows):
    logits, y, keys = rows
    found = target_classes("cat", CLASSES, logits, y, keys).tolist()
    assert found == [UNTARGETED if label == 2 else 2 for label in y.tolist()]


def test_next_is_the_class_after_the_label_and_the_first_after_the_last(rows):
    logits, y, keys = rows
    found = target_classes("next", CLASSES, logits, y, keys).tolist()
    assert found == [{0: 1, 1: 2, 2: 3, 3: 0}[label] for label in y.tolist()]


def test_least_likely_is_the_wrong_class_of_the_smallest_logit(rows):
    logits, y, keys = rows
    found = target_classes("least_likely", CLASSES, logits, y, keys).tolist()
    for goal, z, label in zip(found, logits.tolist(), y.tolist(), strict=True):
        assert goal == min((k for k in range(4) if k != label), key=lambda k, z=z: z[k])


def test_random_is_any_wrong_class_as_often_and_depends_on_the_row_alone(rows):
    logits, y, keys = rows
    found = target_classes("random", CLASSES, logits, y, keys)
    steps = ((found - y) % 4).bincount(minlength=4).tolist()
    assert steps[0] == 0
    assert all(100 < count < 167 for count in steps[1:]), "a third of 400 each, within 3.5 deviations"
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    again = target_classes("random", CLASSES, logits[order], y[order], keys.rows(order.tolist()))
    assert torch.equal(again, found[order])


def test_a_class_that_is_called_like_a_rule_is_meant(rows):
    logits, y, keys = rows
    assert set(target_classes("next", ("ant", "next", "cat", "dog"), logits, y, keys).tolist()) == {1, UNTARGETED}


@pytest.mark.parametrize(
    ("target", "attack", "words"),
    [
        ("cat", Ensemble(eps=0.1), "an ensemble measures whether"),
        ("cat", FunctionAttack(function=print, eps=0.1), "called with the true labels"),
        (3, PGD(eps=0.1), "in quotes; got 3."),
    ],
)
def test_what_takes_no_target_or_is_none_is_refused(target, attack, words):
    with pytest.raises(InputError, match=re.escape(words)):
        check_target(target, attack)


def test_a_target_nobody_knows_is_refused_with_the_nearest():
    check_target_class("cat", CLASSES)
    check_target_class("random", CLASSES)
    with pytest.raises(UnknownNameError, match=r"unknown target 'cot'. Did you mean 'cat'\?"):
        check_target_class("cot", CLASSES)


def test_an_unknown_target_stops_an_audit_before_anything_is_measured(tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown target 'ber'. Did you mean 'bar'\?"):
        tiny.run(tmp_path / "run", conditions=("clean", "pgd(eps=0.1, target='ber')"))
    assert not (tmp_path / "run").exists()


def test_targets_in_words():
    assert [target_words(name) for name in ("next", "cat")] == ["the class after its own", "the class cat"]
