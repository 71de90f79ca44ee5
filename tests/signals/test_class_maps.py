"""The maps of a class, and what they add to its right and its wrong answers."""

import math

import pytest
import torch

from demur.signals.class_maps import ClassMaps, top_maps


def test_top_maps_are_those_that_matter_to_one_class_more_than_to_others():
    maps = torch.zeros(9, 4)
    answers = torch.tensor([0, 0, 1, 1, 3, 3, 3, 0, 1])
    wrong = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1]).bool()
    maps[:, 0] = 9.0  # for everyone
    maps[answers == 0, 2] = 3.0
    maps[answers == 1, 3] = 2.0
    maps[answers == 3, 1] = 1.0
    maps[7:, 1] = 50.0  # for wrong answers only
    assert top_maps(maps, answers, wrong, count=1)[:, 0].tolist() == [2, 3, -1, 1]


def profiles():
    """Class 0 is answered by map 2, class 1 by map 0; wrong answers of class 0 come from map 1."""
    answers = torch.arange(60) % 2
    wrong = (answers == 0) & (torch.arange(60) >= 50)
    maps = torch.zeros(60, 12, dtype=torch.float64)
    maps[(answers == 0) & ~wrong, 2] = 3.0
    maps[answers == 1, 0] = 2.0
    maps[wrong, 1] = 4.0
    maps[:, 2] += torch.arange(60) % 3 - 1.0
    return maps, answers, wrong


def test_a_class_has_its_maps_and_what_they_add_to_right_and_wrong_answers():
    maps, answers, wrong = profiles()
    found = ClassMaps.of(maps, answers, wrong, classes=3)
    assert found.top[:, 0].tolist() == [2, 0, -1]
    assert found.top.shape == (3, 10)
    assert found.right[0, 0] == maps[(answers == 0) & ~wrong, 2].mean()
    assert found.wrong[0, 0] == maps[wrong, 2].mean()
    assert found.wrong[1].isnan().all()
    assert found.facts["wrong"][1] == [None] * 10
    assert found.facts["answers"] == [[25, 5], [30, 0], [0, 0]]


def test_an_answer_that_other_maps_made_lies_far_below_right_ones():
    maps, answers, wrong = profiles()
    found = ClassMaps.of(maps, answers, wrong, classes=3)
    added = maps.gather(1, found.top.clamp(min=0)[answers]).sum(dim=1)
    right = added[(answers == 0) & ~wrong]
    scores = found(maps, answers)
    assert float(scores[0]) == pytest.approx(float((added[0] - right.mean()) / right.std()))
    other = torch.zeros(1, 12, dtype=torch.float64)
    assert float(found(other, torch.tensor([0]))) < -2
    assert math.isnan(float(found(other, torch.tensor([2]))))


def test_a_class_of_few_right_answers_has_no_spread():
    maps, answers, wrong = profiles()
    answers[:4] = 2
    assert ClassMaps.of(maps, answers, wrong, classes=3)(maps, answers)[:4].isnan().all()
