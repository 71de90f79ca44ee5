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
from tests.setups import (
    DEFAULT,
    SWEEP,
    Images,
    Nearest,
    Setup,
    altered,
    cnn,
    coloured,
    digits,
    easy,
    fashion,
    mlp,
    normed,
    patterns,
    thousand,
    trained,
)
from torch import nn
from torch.nn import functional

from demur.analysis import analyse
from demur.data import open_data
from demur.errors import DataError, ModelError
from demur.report import render
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


def rounding(z):
    """Other last bits each time."""
    return z * (1 + 2e-7 * torch.rand(()))


def wrong_labels(y):
    """One in ten is another class, any of them alike."""
    draw = torch.Generator().manual_seed(7)
    by = torch.randint(1, 10, y.shape, generator=draw) * (torch.rand(y.shape, generator=draw) < 0.1)
    return (y + by) % 10


COPIES = 60


def with_mirrored(x):
    """The last images are the first ones, seen in a mirror."""
    return torch.cat([x[:-COPIES], x[:COPIES].flip(3)])


def with_copies(y):
    return torch.cat([y[:-COPIES], y[:COPIES]])


FRAMES = 12


def filmed(x):
    """Each scene is filmed for a while: it moves a little, and the light changes."""
    draw = torch.Generator().manual_seed(8)
    scenes = x[: len(x) // FRAMES].repeat_interleave(FRAMES, dim=0)
    light = 0.8 + 0.2 * torch.rand(len(x), 1, 1, 1, generator=draw)
    moves = torch.randint(-1, 2, (len(x),), generator=draw)
    moved = torch.stack([image.roll(int(by), dims=2) for image, by in zip(scenes, moves, strict=True)])
    return (light * moved + 0.02 * torch.randn(moved.shape, generator=draw)).clamp(0, 1)


def of_scenes(y):
    return y[: len(y) // FRAMES].repeat_interleave(FRAMES)


def one_group(rows):
    return ["everything"] * rows


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
    "no errors": Setup(easy, partial(trained, easy, cnn, classes=2), classes=2),
    "a thousand classes": Setup(thousand, lambda: Nearest(patterns(1000)).eval(), classes=1000, eps=0.02),
    "logits in thousandths": Setup(fashion, lambda: altered(fashion_net(), end=times(1e-3))),
    "logits in hundred thousandths": Setup(fashion, lambda: altered(fashion_net(), end=times(1e-5))),
    "rounding noise": Setup(digits, lambda: altered(digits_net(), end=rounding)),
    "one constant group": Setup(digits, digits_net, groups=one_group),
}

NEW = ("no errors", "a thousand classes", "logits in hundred thousandths", "rounding noise")

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
    "dropout that is always on": (Setup(digits, lambda: altered(digits_mlp(), begin=dropped)), "answers repeat"),
    "not deterministic": (Setup(digits, lambda: altered(digits_net(), end=noisy)), "answers repeat"),
    "a layer that rounds": (Setup(digits, lambda: altered(digits_net(), begin=rounded)), "the margin has a gradient"),
    "steps a thousand times too short": (
        Setup(fashion, fashion_net, conditions=SHORT),
        "steps reach the edge",
        "many steps beat one",
    ),
}

WARNED = {
    "ten wrong labels in a hundred": (
        Setup(digits, digits_net, labels=wrong_labels, conditions=("clean",)),
        "labels are not wrong at random",
    ),
    "ten wrong labels in a hundred clothes": (
        Setup(fashion, partial(fashion_net, steps=400), labels=wrong_labels, conditions=("clean",)),
        "labels are not wrong at random",
    ),
}

FAILS |= {
    "mirrored duplicates": (
        Setup(digits, digits_net, images=with_mirrored, labels=with_copies, conditions=("clean",)),
        "near-duplicates stay together",
    ),
    "mirrored duplicates of clothes": (
        Setup(fashion, fashion_net, images=with_mirrored, labels=with_copies, conditions=("clean",)),
        "near-duplicates stay together",
    ),
    "a burst without groups": (
        Setup(fashion, fashion_net, images=filmed, labels=of_scenes, conditions=("clean",)),
        "images come one by one",
    ),
}

ABOUT_DATA = {"labels are not wrong at random", "near-duplicates stay together", "images come one by one"}

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


def warned(results):
    return [check.name for check in results.checks if check.state == "warn"]


@pytest.mark.parametrize("name", ["a net with dropout", "low accuracy", "two classes", "probabilities", *NEW])
def test_a_sound_set_up_raises_no_alarm(name, tmp_path):
    results = analyse(SOUND[name].run(tmp_path / "run"))
    assert failed(results) == []
    assert not ABOUT_DATA & set(warned(results))
    assert results.masking is None


def assert_masked(results):
    assert results.masking is not None
    assert results.masking.stood > 0.8 * results.masking.of
    assert results.masking.grey > 0.4 * results.masking.of
    assert "Looks robust: it is masked." in render(results)


def test_a_saturated_net_is_called_masked_and_its_attacks_are_believed(tmp_path):
    """Through the softmax it stands, as a distilled net does; what attacks climb by default has a gradient."""
    results = analyse(Setup(digits, lambda: altered(digits_net(), end=times(1000))).run(tmp_path / "run"))
    assert_masked(results)
    fell = {breach.attack: breach.count for breach in results.masking.breaches}
    assert fell["the same in double precision"] >= 0.9 * fell["the same on the logits"] > 0
    assert failed(results) == []
    assert not results.void("attacks")


def test_one_constant_group_is_the_reason_of_the_refusal(tmp_path):
    results = analyse(SOUND["one constant group"].run(tmp_path / "run"))
    assert (results.state, results.refusal.constant_group) == ("too_few_labels", "everything")
    assert "one and the same group, 'everything'" in results.refusal.sentence
    assert "all are of one group" in results.next_step
    assert "all images are of one group, “everything”" in render(results)


def ordinary(table):
    """Each fault once; on a second set of images it is tried at leisure."""
    return [pytest.param(name, marks=[pytest.mark.slow] * ("clothes" in name)) for name in table]


@pytest.mark.parametrize("name", ordinary(WARNED))
def test_a_planted_fault_of_the_labels_is_a_warning_and_changes_nothing_else(name, tmp_path):
    setup, expected = WARNED[name]
    results = analyse(setup.run(tmp_path / "run"))
    assert expected in warned(results)
    assert failed(results) == []
    assert results.wrong_labels.share.low <= 0.1 <= results.wrong_labels.share.high
    assert results.state != "measurement_failed"


@pytest.mark.slow
def test_eighteen_sound_set_ups_raise_at_most_one_alarm(tmp_path):
    found = {name: analyse(setup.run(tmp_path / name)) for name, setup in SOUND.items()}
    assert len(found) == 18
    alarms = {name: failed(results) for name, results in found.items()}
    assert sum(map(len, alarms.values())) <= 1, alarms
    assert not any(ABOUT_DATA & set(warned(results)) for results in found.values())


@pytest.mark.parametrize("name", ordinary(FAILS))
def test_a_planted_fault_fails_a_check(name, tmp_path):
    setup, *expected = FAILS[name]
    results = analyse(setup.run(tmp_path / "run"))
    assert set(expected) <= set(failed(results))
    assert results.state == "measurement_failed" or expected[0] in results.void("attacks")
    assert expected[0] in results.next_step
    if name == "a layer that rounds":
        assert_masked(results)


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
