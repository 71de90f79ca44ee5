"""Other libraries, at the same settings in the same process, come to the same numbers or to worse ones.

Run by `make test-extras`, in an environment that has them.
"""

import functools
import math

import numpy as np
import pytest
import torch

from common import peers
from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.registry import build

if not peers.installed():
    pytest.skip("none of foolbox, torchattacks, art, adv-lib is installed: make test-extras", allow_module_level=True)

from common import nets
from common.judge import broken, distances

MAKE = {"fashion": nets.fashion, "resnet20": nets.resnet20, "robust-mnist": nets.robust_mnist}
NETS = ["fashion", *(pytest.param(name, marks=pytest.mark.shared) for name in ("resnet20", "robust-mnist"))]
ROWS = {"fashion": 300, "resnet20": 100, "robust-mnist": 500}
FEWER = {"fashion": 100, "resnet20": 40, "robust-mnist": 100}
FEWEST = {"fashion": 60, "resnet20": 20, "robust-mnist": 60}
"""For FAB, one step of which costs a backward pass for every class."""
BALLS = {
    "fashion": [peers.Ball(eps=0.02, steps=20, step=0.0025), peers.Ball(eps=0.01, steps=40, step=0.001)],
    "resnet20": [peers.Ball(eps=k / 255, steps=10, step=k / 1020) for k in (0.5, 1)],
    "robust-mnist": [peers.Ball(eps=0.2, steps=40, step=0.0125), peers.Ball(eps=0.3, steps=40, step=0.01)],
}
NEAREST = {"ddn": "ddn(steps=100)", "fmn-l2": "fmn(norm='l2', steps=100)", "fmn-linf": "fmn(steps=100)"}
NEAREST |= {"fab-l2": "fab(norm='l2', steps=60)", "fab-linf": "fab(steps=60)"}
POINT = 0.01


@functools.cache
def subject(name, rows):
    return MAKE[name](rows) or pytest.skip("DEMUR_SHARED is not set")


@functools.cache
def ours(name, rows, text, keep):
    """Our changed images."""
    net, attack = subject(name, rows), build("attack", text)
    classifier, _ = net.classifier()
    return run(attack, Objective(classifier, attack.loss), net.x, net.y, net.keys, keep=keep, batch=128).x


def theirs(attack, net):
    """Their changed images, by fixed draws: those of ART come from numpy's global stream."""
    model, _ = net.plain()
    before = np.random.get_state()  # noqa: NPY002 - theirs
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        np.random.set_state(np.random.RandomState(0).get_state())  # noqa: NPY002 - theirs
        found = [attack(model, x, y) for x, y in zip(net.x.split(128), net.y.split(128), strict=True)]
    np.random.set_state(before)  # noqa: NPY002 - theirs
    return torch.cat(found)


def only_with(*names):
    here = peers.installed()
    absent = {name: pytest.mark.skipif(name not in here, reason=f"{name} is not installed") for name in names}
    return pytest.mark.parametrize("peer", [pytest.param(name, marks=mark) for name, mark in absent.items()])


@only_with(*peers.PACKAGES)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", NETS)
def test_pgd_of_the_same_settings_leaves_the_same_accuracy(name, which, peer):
    net, ball = subject(name, ROWS[name]), BALLS[name][which]
    model, _ = net.plain()
    text = f"pgd(eps={ball.eps!r}, steps={ball.steps}, step={ball.step!r})"
    found = {"ours": ours(name, ROWS[name], text, "first"), "theirs": theirs(peers.pgd(peer, ball), net)}
    left = {who: 1 - float(broken(model, net.x, x, net.y, ball.eps).float().mean()) for who, x in found.items()}
    assert left["ours"] <= left["theirs"] + POINT
    if name != "robust-mnist":  # there our start, anywhere in ball and box, is stronger by up to 13 points
        assert left["ours"] >= left["theirs"] - POINT


@only_with("foolbox", "adv-lib")
@pytest.mark.parametrize("attack", NEAREST)
@pytest.mark.parametrize("name", NETS)
def test_the_median_smallest_change_is_not_larger(name, attack, peer):
    rows, steps = (FEWEST[name], 60) if attack.startswith("fab") else (FEWER[name], 100)
    net, other = subject(name, rows), peers.nearest(peer, attack, steps)
    if other is None:
        pytest.skip(f"{peer} has no {attack} that works")
    model, _ = net.plain()
    order = math.inf if attack.endswith("linf") else 2
    found = {"ours": ours(name, rows, NEAREST[attack], "nearest"), "theirs": theirs(other, net)}
    size = {who: distances(model, net.x, x, net.y, order) for who, x in found.items()}
    assert float((size["ours"] / size["theirs"])[size["theirs"] > 0].nanmedian()) <= 1.02
    if attack != "ddn":  # its distances lie on a grid of 5 %, where plain medians jump by whole steps
        assert float(size["ours"].median()) <= 1.02 * float(size["theirs"].median())


@only_with("foolbox")
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_as_many_questions_about_labels_find_changes_that_are_not_larger(norm, peer):
    """HopSkipJump of five rounds asks about a thousand questions an image; ours may ask as many."""
    net, other = subject("fashion", 24), peers.by_label(peer, norm, 5)
    model, count = net.plain()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        found = other(model, net.x, net.y)
    questions = count.forwards // len(net.x)
    mine = ours("fashion", 24, f"hopskipjump(norm={norm!r}, steps={questions})", "nearest")
    plain, order = net.plain()[0], math.inf if norm == "linf" else 2
    theirs, size = (distances(plain, net.x, each, net.y, order) for each in (found, mine))
    assert questions > 800
    assert float((size / theirs)[theirs > 0].nanmedian()) <= 1.02
