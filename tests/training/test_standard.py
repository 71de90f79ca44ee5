import pytest
import torch
from torch import nn

from demur.errors import InputError
from demur.training import Standard, fresh
from demur.training.recipe import Lesson, balance

IMAGES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("total", [1, 2, 7, 40, 333])
def test_the_pace_is_that_of_torch(total):
    recipe = Standard(learning_rate=0.3)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = recipe.optimizer([parameter])
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=total, pct_start=0.2)
    for done in range(total):
        group = optimizer.param_groups[0]
        assert recipe.pace(done, total) == {"lr": group["lr"], "momentum": group["momentum"]}
        optimizer.step()
        if done + 1 < total:
            cycle.step()


def test_five_steps_have_a_pace():
    assert Standard(learning_rate=1.0).pace(0, 5)["lr"] == 1  # torch's own cycle divides by zero here


def test_a_view_is_another_image_unless_nothing_is_asked():
    dice = torch.Generator().manual_seed(0)
    assert not torch.equal(Standard().view(IMAGES, dice), IMAGES)
    assert torch.equal(Standard(mirror=False, shift=0).view(IMAGES, dice), IMAGES)


def test_weights_go_to_class_ids_not_to_names_or_first_seen():
    # ids in the order seen: 2, 0, 1; names in the order of ids: "zebra", "ant", "lynx"
    labels = torch.tensor([2] * 6 + [0] * 3 + [1])
    weights = balance(torch.bincount(labels, minlength=3))
    assert weights.tolist() == pytest.approx([10 / 9, 10 / 3, 10 / 18])
    assert sum(weights[label] for label in labels) == pytest.approx(len(labels))


def test_the_balanced_loss_is_its_definition():
    network = fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), 0)
    labels = torch.tensor([0] * 25 + [1] * 5 + [2] * 10)
    counts = torch.tensor([25, 5, 10])
    lesson = Lesson(IMAGES, labels, counts, torch.Generator())
    surprise = -network(IMAGES).log_softmax(dim=1)[torch.arange(40), labels]
    slow = torch.stack([surprise[labels == k].mean() for k in range(3)]).mean()
    assert Standard(balanced=True).loss(network, lesson).item() == pytest.approx(slow.item(), rel=1e-6)
    assert Standard().loss(network, lesson).item() == pytest.approx(surprise.mean().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"epochs": 0}, "`epochs` .* got 0"),
        ({"batch": 0}, "`batch`"),
        ({"learning_rate": 0.0}, "`learning_rate` must be above 0"),
        ({"weight_decay": -1.0}, "`weight_decay` must be 0 or more"),
        ({"shift": -1}, "`shift`"),
    ],
)
def test_fields_have_ranges(fields, says):
    with pytest.raises(InputError, match=says):
        Standard(**fields)
