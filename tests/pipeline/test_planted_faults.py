"""Planted faults are caught, each by a check that fails or by a refusal; sound set-ups raise no alarm.

Where a model or data cannot be measured at all the audit refuses with an error; where they can, and mislead, a check
fails and the report's state is a failed measurement.
"""

import os
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.setups import DEFAULT, SWEEP, Images, Setup, altered, cnn, coloured, digits, fashion, mlp, normed, trained
from torch import nn
from torch.nn import functional

from demur.analysis import analyse
from demur.data import open_data
from demur.errors import DataError, ModelError
from demur.zoo import resnet20

shared = pytest.mark.shared


def softmax(z):
    return z.softmax(dim=1)


def twice_softmax(z):
    return softmax(softmax(z))


def times(factor):
    return lambda z: factor * z


def clipped(x):
    return (255 * x).clamp(0, 1)


def noisy(z):
    return z + 0.01 * torch.randn_like(z)


def rounded(x):
    return (8 * x).round() / 8


dropped = partial(functional.dropout, p=0.3, training=True)

digits_net, digits_mlp = partial(trained, digits, cnn), partial(trained, digits, mlp)
fashion_net, coloured_net = partial(trained, fashion, cnn), partial(trained, coloured, cnn)

SOUND = {
    "digits": Setup(digits, digits_net, conditions=DEFAULT),
    "a net with dropout": Setup(digits, digits_mlp, conditions=SWEEP),
    "two classes": Setup(digits, partial(digits_net, classes=2), classes=2, conditions=SWEEP),
    "three classes": Setup(digits, partial(digits_net, classes=3), classes=3, conditions=DEFAULT),
    "grey": Setup(fashion, fashion_net, conditions=SWEEP),
    "colour": Setup(coloured, coloured_net, eps=4 / 255, conditions=DEFAULT),
    "normalised layers": Setup(coloured, partial(trained, coloured, normed), eps=2 / 255, conditions=SWEEP),
    "low accuracy": Setup(coloured, partial(coloured_net, steps=25), eps=2 / 255, conditions=SWEEP),
    "robust": Setup(fashion, partial(fashion_net, steps=100, eps=0.1), eps=0.1, conditions=DEFAULT),
    "small logits": Setup(fashion, lambda: altered(fashion_net(), end=times(0.01)), conditions=SWEEP),
    "large logits": Setup(digits, lambda: altered(digits_net(), end=times(5)), conditions=SWEEP),
    "probabilities": Setup(
        fashion, lambda: altered(fashion_net(), end=softmax), declared={"output": "probabilities"}, conditions=DEFAULT
    ),
}

SHORT = ("clean", "fgsm(eps={eps})", "pgd(eps={eps}, step=0.00000625, steps=20)")

FAILS = {
    "clipped grey digits": (Setup(digits, digits_net, images=clipped), "pixels have shades"),
    "clipped grey clothes": (Setup(fashion, fashion_net, images=clipped), "pixels have shades"),
    "softmax on softmax": (
        Setup(fashion, lambda: altered(fashion_net(), end=twice_softmax), declared={"output": "probabilities"}),
        "outputs are no probabilities",
    ),
    "softmax on softmax of two classes": (
        Setup(
            digits,
            lambda: altered(digits_net(classes=2), end=twice_softmax),
            classes=2,
            declared={"output": "probabilities"},
        ),
        "outputs are no probabilities",
    ),
    "a sigmoid for each class, declared as logits": (
        Setup(fashion, lambda: altered(fashion_net(), end=torch.sigmoid)),
        "outputs are no probabilities",
    ),
    "saturated by distillation": (
        Setup(digits, lambda: altered(digits_net(), end=times(1000))),
        "cross-entropy has a gradient",
    ),
    "dropout that is always on": (Setup(digits, lambda: altered(digits_mlp(), begin=dropped)), "answers repeat"),
    "not deterministic": (Setup(digits, lambda: altered(digits_net(), end=noisy)), "answers repeat"),
    "a layer that rounds": (Setup(digits, lambda: altered(digits_net(), begin=rounded)), "the margin has a gradient"),
    "steps a thousand times too short": (
        Setup(fashion, fashion_net, conditions=SHORT),
        "steps reach the edge",
        "many steps beat one",
    ),
}

REFUSED = {
    "clipped colour": (Setup(coloured, coloured_net, images=clipped), DataError, "better than guessing.*pixel scale"),
    "softmax declared as logits": (
        Setup(fashion, lambda: altered(fashion_net(), end=twice_softmax)),
        ModelError,
        "these are probabilities",
    ),
    "a layer left in training mode": (
        Setup(digits, lambda: nn.Sequential(nn.Dropout(0.3), digits_net())),
        ModelError,
        r"in training mode.*model.eval\(\)",
    ),
    "labels in another order": (
        Setup(digits, digits_net, labels=lambda y: (y + 1) % 10),
        DataError,
        "order the classes differently",
    ),
    "two labels exchanged": (
        Setup(digits, digits_net, labels=lambda y: torch.where(y < 2, 1 - y, y)),
        DataError,
        "order the classes differently",
    ),
    "a layer without gradient": (
        Setup(digits, lambda: altered(digits_net(), begin=torch.Tensor.detach)),
        ModelError,
        "follows gradients with respect to the images, and the answers of .* have no gradient",
    ),
}


def failed(results):
    return [check.name for check in results.checks if check.state == "fail"]


@pytest.mark.parametrize("name", ["a net with dropout", "low accuracy", "two classes", "probabilities"])
def test_a_sound_set_up_raises_no_alarm(name, tmp_path):
    assert failed(analyse(SOUND[name].run(tmp_path / "run"))) == []


@pytest.mark.slow
def test_twelve_sound_set_ups_raise_at_most_one_alarm(tmp_path):
    alarms = {name: failed(analyse(setup.run(tmp_path / name))) for name, setup in SOUND.items()}
    assert len(alarms) == 12
    assert sum(map(len, alarms.values())) <= 1, alarms


@pytest.mark.parametrize("name", FAILS)
def test_a_planted_fault_fails_a_check(name, tmp_path):
    setup, *expected = FAILS[name]
    results = analyse(setup.run(tmp_path / "run"))
    assert set(expected) <= set(failed(results))
    assert results.state == "measurement_failed" or expected[0] in results.void("attacks")
    assert expected[0] in results.next_step


@pytest.mark.parametrize("name", REFUSED)
def test_a_planted_fault_is_refused(name, tmp_path):
    setup, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        setup.run(tmp_path / "run")


def test_who_vouches_for_black_and_white_images_is_warned_of_them_only(tmp_path):
    setup = Setup(digits, digits_net, images=clipped, trusted=True, conditions=("clean",))
    (check,) = (c for c in analyse(setup.run(tmp_path / "run")).checks if c.name == "pixels have shades")
    assert (check.state, check.count) == ("warn", check.of)


@pytest.mark.slow
@shared
def test_a_published_net_raises_no_alarm(tmp_path):
    if "DEMUR_SHARED" not in os.environ:
        pytest.skip("DEMUR_SHARED is not set")
    folder = Path(os.environ["DEMUR_SHARED"])
    rows = list(open_data(f"parquet:{folder / 'data' / 'cifar10' / 'test.parquet'}").read(range(420)))
    images = Images(torch.stack([row.image for row in rows]), torch.tensor([row.label for row in rows]), 10)
    net = resnet20().eval()
    net.load_state_dict(load_file(folder / "models" / "cifar10_resnet20.safetensors"))
    normal = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    setup = Setup(lambda: images, lambda: net, eps=2 / 255, declared=normal, begin=0, attacked=32)
    assert failed(analyse(setup.run(tmp_path / "run"))) == []
