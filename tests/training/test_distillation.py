from dataclasses import replace

import pytest
import torch
from tests.setups import digits
from torch import nn
from torch.nn import functional

from demur.attacks import PGD
from demur.classifier import BoundClassifier
from demur.errors import InputError, RunError
from demur.training import fresh
from demur.training.distillation import Distilled, SoftStandard
from demur.training.recipe import Lesson
from demur.training.standard import GaussianNoise, Standard

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network(seed):
    return fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), seed)


def lesson(teacher=None):
    return Lesson(IMAGES, LABELS, torch.bincount(LABELS), torch.Generator().manual_seed(1), teacher)


def test_the_student_learns_the_soft_answers_of_the_teacher():
    student, teacher = network(0), network(1)
    soft = (teacher(IMAGES) / 5).softmax(1)
    wanted = -(soft * (student(IMAGES) / 5).log_softmax(1)).sum(1).mean()
    loss = Distilled(temperature=5.0).loss(student, lesson(teacher))
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_teacher_learns_labels_at_the_same_temperature_and_schedule():
    recipe = Distilled(temperature=5.0, epochs=3, mirror=False, smoothing=0.1)
    assert recipe.teacher == SoftStandard(temperature=5.0, epochs=3, mirror=False, smoothing=0.1)
    wanted = functional.cross_entropy(network(0)(IMAGES) / 5, LABELS, label_smoothing=0.1)
    assert recipe.teacher.loss(network(0), lesson()).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_without_a_teacher_there_is_nothing_to_learn():
    with pytest.raises(RunError, match="teacher"):
        Distilled().loss(network(0), lesson())


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_what_is_no_temperature_is_refused(temperature):
    with pytest.raises(InputError, match="temperature"):
        Distilled(temperature=temperature)


def test_noise_has_its_deviation_and_is_not_clipped():
    seen = []

    class Watching(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.flatten(1)[:, :3]

    many = Lesson(torch.ones(200, 1, 10, 10), torch.zeros(200, dtype=torch.int64), torch.ones(3),
                  torch.Generator().manual_seed(0))  # fmt: skip
    GaussianNoise(sigma=0.3).loss(Watching(), many)
    noise = seen[0] - 1
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert seen[0].max() > 1.5


def test_labels_are_smoothed_as_asked():
    logits = network(0)(IMAGES)
    hot = functional.one_hot(LABELS, 3) * 0.8 + 0.2 / 3
    wanted = -(hot * logits.log_softmax(1)).sum(1).mean()
    assert Standard(smoothing=0.2).loss(network(0), lesson()).item() == pytest.approx(wanted.item(), rel=1e-6)


def taught(recipe, given):
    student = fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), 0)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        recipe.loss(student, given).backward()
        optimizer.step()
    return student.eval().requires_grad_(requires_grad=False)


def test_a_distilled_net_stands_through_its_softmax_and_falls_to_the_usual_attack():
    learned, (x, y) = digits().part(0, 600), (digits().part(600, 800).x, digits().part(600, 800).y)
    recipe = Distilled(temperature=50.0)
    given = Lesson(learned.x, learned.y, torch.bincount(learned.y), torch.Generator())
    student = taught(recipe, replace(given, teacher=taught(recipe.teacher, given)))
    classifier = BoundClassifier(student, classes=[str(k) for k in range(10)], input_shape=(1, 8, 8))
    assert (classifier.logits(x).argmax(dim=1) == y).float().mean() > 0.9
    masked, usual, bare = (
        PGD(eps=0.1, steps=10, loss=loss)(classifier, x, y).success.sum().item()
        for loss in ("softmax", "cross_entropy", "margin")
    )
    assert masked < 0.2 * len(y)
    assert bare > 0.5 * len(y)
    assert usual == pytest.approx(bare, abs=4)
