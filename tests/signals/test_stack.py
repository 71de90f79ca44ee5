"""A stack learns from images it does not score, and says what that gained where it could be seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pytest
import torch

from demur.errors import InputError
from demur.metrics import auroc
from demur.registry import TABLES
from demur.signals import Needs, needs_of
from demur.signals.disagreement import TTA, MCDropout
from demur.signals.feature_distances import KNN
from demur.signals.regression import Logistic, NormalScores, ReferenceFold, folds_of, units_of
from demur.signals.softmax_scores import MSP
from demur.signals.stack import Stack
from demur.testing.world import World, pictures


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """How bright an image is: high when it is."""

    unit: ClassVar[str] = "pixels"

    def __call__(self, seen):
        return seen.images.double().mean(dim=(1, 2, 3))


@dataclass(frozen=True)
class Recalled:
    """1 for an image known to be answered wrongly, 0 for any other."""

    unit: ClassVar[str] = "memory"

    wrong: Mapping[bytes, bool]

    def __call__(self, seen):
        found = [float(self.wrong.get(image.numpy().tobytes(), 0)) for image in seen.images]
        return torch.tensor(found, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Whether an image is known to be answered wrongly: high when it is. Worth nothing on images it has not seen."""

    unit: ClassVar[str] = "memory"
    needs: ClassVar[Needs] = Needs(fitting=2.0)

    def fit(self, reference, labels):
        seen = list(reference)
        images = torch.cat([each.images for each in seen])
        wrong = torch.cat([each.logits.argmax(dim=1) for each in seen]) != labels
        return Recalled({image.numpy().tobytes(): bool(flag) for image, flag in zip(images, wrong, strict=True)})


@pytest.fixture(autouse=True)
def named(monkeypatch):
    for cls in (Brightness, Memory):
        monkeypatch.setitem(TABLES["signal"], cls.__name__.lower(), f"{cls.__module__}:{cls.__qualname__}")


@dataclass(frozen=True)
class Told(World):
    """A world whose labels go wrong where images are bright."""

    references: int = 300

    @cached_property
    def labels(self):
        with torch.no_grad():
            answers = self.net(self.reference_images).argmax(dim=1)
        bright = self.reference_images.mean(dim=(1, 2, 3))
        noisy = bright + 0.02 * self.reference_keys.normal(torch.empty(len(bright), 1), "noise")[:, 0]
        return torch.where(noisy > noisy.quantile(0.8), (answers + 1) % 4, answers)


@dataclass(frozen=True)
class Twins(World):
    """A world in which each reference image is there twice."""

    references: int = 300

    @cached_property
    def reference_images(self):
        half = pictures(self.reference_keys)[:150]
        return torch.cat([half, half])

    @cached_property
    def labels(self):
        with torch.no_grad():
            answers = self.net(self.reference_images).argmax(dim=1)
        wrong = torch.arange(150) % 4 == 0
        return torch.where(wrong.repeat(2), (answers + 1) % 4, answers)


def fit(stack, world):
    with torch.no_grad():
        return stack.fit(world.reference(), world.labels)


def test_a_second_signal_that_tells_more_is_found_and_its_gain_is_clear():
    fitted = fit(Stack(signals=(MSP(), Brightness())), Told())
    msp, bright = fitted.facts["signals"]
    assert bright["weight"] > 1 > abs(msp["weight"])
    assert (msp["name"], bright["name"]) == ("msp", "brightness")
    assert fitted.gain.low > 0.1
    assert fitted.facts["auroc_gain_over_msp"]["value"] == fitted.gain.value


def test_a_stack_of_msp_alone_gains_and_loses_nothing():
    assert abs(fit(Stack(signals=(MSP(),)), World(references=300)).gain.value) < 0.005


def test_what_a_signal_remembers_of_its_own_reference_gains_nothing():
    """Fitted on all rows and scored on them it would be perfect."""
    world = World(references=300)
    fitted = fit(Stack(signals=(MSP(), Memory())), world)
    assert abs(fitted.gain.value) < 0.02
    assert abs(fitted.facts["signals"][1]["weight"]) < 0.2
    with torch.no_grad():
        inside = torch.cat([fitted.signals[1](seen) for seen in world.reference()])
    assert auroc(inside.numpy(), world.wrong) == 1


def test_twins_of_one_group_do_not_tell_on_each_other():
    """Without groups memory looks like knowledge."""
    alone = Twins()
    together = Twins(groups=tuple(f"twin {row % 150}" for row in range(300)))
    told = fit(Stack(signals=(MSP(), Memory())), alone).gain
    honest = fit(Stack(signals=(MSP(), Memory())), together).gain
    assert told.low > 0.05
    assert honest.low < 0
    assert honest.value < 0.02
    assert honest.high < told.value
    assert (told.unit, honest.unit, honest.n) == ("image", "group", 150)


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ({"signals": ()}, "`signals` must name at least one signal"),
        ({"folds": 1}, "`folds` must be at least 2; got 1"),
        ({"penalty": 0.0}, "`penalty` must be positive and finite; got 0"),
    ],
)
def test_a_stack_that_cannot_be_is_refused(stack, words):
    with pytest.raises(InputError, match=words):
        Stack(**stack)


def test_few_errors_teach_nothing():
    with pytest.raises(InputError, match=r"needs 10 of each among the reference images; there are \d of one kind"):
        fit(Stack(signals=(MSP(),)), World(references=24))


@pytest.mark.parametrize("signals", [(MSP(),), (MSP(), KNN())])
@pytest.mark.parametrize("groups", ["one", "errors in one"])
def test_groups_that_cannot_be_told_apart_teach_nothing(groups, signals):
    wrong = World().wrong
    units = [f"right {row % 9}" if groups != "one" and not wrong[row] else "same" for row in range(len(wrong))]
    with pytest.raises(InputError, match=r"must lie in several folds.* images: (1|10)\. Bring images of more groups"):
        fit(Stack(signals=signals), World(groups=tuple(units)))


def test_the_price_of_a_stack_is_that_of_its_signals():
    needs = needs_of(Stack(signals=(MSP(), KNN(), TTA(), MCDropout(n=7), Memory()), folds=3))
    assert needs == Needs(features=True, passes=12.0, fitting=12.0 + 4 * 2.0)


def test_a_stack_is_finite_far_from_its_reference():
    world = World()
    fitted = fit(Stack(), world)
    logits = torch.tensor([[1e4, -1e4, 0, 0], [1e4, 1e4, 1e4, 1e4], [-1e4, 0, 0, 0]], dtype=torch.float32)
    assert fitted(world.evidence(slice(0, 3)).answering(logits)).isfinite().all()


def test_folds_hold_whole_units_and_none_is_empty():
    units = np.array([f"g{row // 3}" for row in range(300)])
    folds = folds_of(units, 5)
    assert set(folds.tolist()) == {0, 1, 2, 3, 4}
    assert all(len(set(folds[units == unit].tolist())) == 1 for unit in units)
    assert torch.equal(folds_of(units[::-1].copy(), 5), folds.flip(0))


def test_parts_of_a_reference_are_its_rows_in_order():
    world = World(references=70)
    chosen = torch.arange(70) % 3 == 0
    chosen[32:64] = False  # a whole batch
    with torch.no_grad():
        found = torch.cat([seen.images for seen in ReferenceFold(world.reference(), chosen)])
    assert torch.equal(found, world.reference_images[chosen])
    units, grouped = units_of(world.reference())
    assert len(set(units)) == 70
    assert not grouped


def test_normal_scores_place_numbers_by_rank():
    known = torch.randn(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inner = known.abs() < 2.5
    for change in (lambda x: x, lambda x: (3 * x).exp(), lambda x: x**3 - 7):
        curve = NormalScores.of(change(known))
        np.testing.assert_allclose(curve(change(known))[inner], known[inner], atol=0.12)
    far = curve(torch.tensor([-1e9, -1e5, 1e5, 1e9], dtype=torch.float64))
    assert (far.diff() > 0).all()


def test_normal_scores_bear_ties_constants_and_the_smallest_numbers():
    ties = NormalScores.of(torch.tensor([0.0] * 60 + [0.5] * 20 + [1.0] * 20, dtype=torch.float64))
    low, middle, high = ties(torch.tensor([0, 0.5, 1], dtype=torch.float64)).tolist()
    assert low < 0 < middle < high
    assert NormalScores.of(torch.ones(50, dtype=torch.float64))(torch.tensor([1.0, 5.0]).double()).tolist() == [0, 0]
    tiny = NormalScores.of(torch.tensor([1e-320] * 3 + [1e-310] * 30 + [1e-300] * 20, dtype=torch.float64))
    assert tiny(torch.tensor([0.0, 1e-315, 1e-300, 1.0], dtype=torch.float64)).isfinite().all()


def test_a_regression_of_separable_columns_is_finite_and_right():
    columns = torch.tensor([[-2.0, 1], [-1, 1], [1, 1], [2, 1]], dtype=torch.float64)
    found = Logistic.fit(columns, torch.tensor([False, False, True, True]), 1e-6)
    assert found.weights.isfinite().all()
    assert found.weights[1] == 0
    assert (found(columns) > 0).tolist() == [False, False, True, True]
