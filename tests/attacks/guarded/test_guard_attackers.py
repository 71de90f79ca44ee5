"""Attackers of a guard against worst points that are known."""

import math
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from tests.attacks.guarded.linear_guards import EPS, FAR, ROWS, Misled, Sealed, Tilt, keys, least_scores, setting
from tests.oracles import CLASSES, SHAPE, Bowl, Plane

from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.guarded.attackers import (
    ATTACKERS,
    attack_confidence,
    attack_guard,
    force_abstention,
)
from demur.attacks.guarded.guard_objective import GuardLoss, worth
from demur.attacks.guarded.guard_points import judged
from demur.attacks.guarded.guard_steps import GuardAscent, GuardSquares
from demur.attacks.guarded.guarded_classifier import GuardedClassifier
from demur.classifier import BoundClassifier
from demur.errors import InputError, ModelError
from demur.signals import MSP

THRESHOLD = 0.2
CLEAR = math.log((1 - THRESHOLD) / THRESHOLD)
"""The lead, in logits of two classes, from which msp is at most the threshold."""


class Detached(Plane):
    """The plane without a gradient."""

    def forward(self, x):
        return super().forward(x).detach()


class Steep(Bowl):
    """The bowl with answers that are surer."""

    def forward(self, x):
        return 15 * super().forward(x)


def ahead(oracle, x):
    """By how much the wrong class leads."""
    z = oracle(x).detach()
    return (z[:, 1] - z[:, 0]) * (1 - 2 * oracle.label)


@pytest.fixture(scope="module")
def tilted():
    """A plane behind a linear score, with a bound that some worst points pass and some do not."""
    least = least_scores(Plane(), setting({"tilt": Tilt()}, {"tilt": 0.0})[1])
    bound = float(least[least.isfinite()].median())
    guarded, x, y = setting({"tilt": Tilt()}, {"tilt": bound})
    return guarded, x, y, least, attack_guard(guarded, x, y, keys(), eps=FAR, steps=30, batch=16)


@pytest.mark.parametrize("oracle", [Plane, Steep], ids=lambda oracle: oracle.__name__)
def test_a_guard_of_msp_is_passed_exactly_where_the_worst_point_passes_it(oracle):
    oracle = oracle()
    guarded, x, y = setting({"msp": MSP()}, {"msp": THRESHOLD}, oracle)
    found = attack_guard(guarded, x, y, keys(), eps=EPS, steps=30)
    excess = ahead(oracle, oracle.worst(x, EPS)) - CLEAR
    plain, expected = excess.abs() > 0.05, excess > 0
    assert 0 < expected[plain].float().mean() < 1
    assert torch.equal(found["joint"].found[plain], expected[plain])
    assert not found["score_free"].found[plain & ~expected].any()
    assert tuple(found) == ATTACKERS


def test_the_joint_attack_finds_what_can_be_found_and_no_more(tilted):
    guarded, _, _, least, found = tilted
    bound = guarded.bounds["tilt"]
    joint = found["joint"].found
    assert not joint[least > bound].any()
    assert joint[least < bound - 0.02].all()
    assert joint.sum() > found["confident"].found.sum()
    assert joint.sum() > found["minimal"].found.sum()
    wrong = found["joint"].wrong
    assert (found["joint"].scores["tilt"][wrong] >= least[wrong] - 1e-5).all()


def test_points_are_what_they_are_said_to_be(tilted):
    guarded, x, y, _, found = tilted
    for outcome in found.values():
        evidence = guarded.evidence(outcome.x)
        assert torch.equal(outcome.predicted, evidence.logits.argmax(dim=1))
        assert torch.equal(outcome.wrong, outcome.predicted != y)
        assert torch.equal(outcome.accepted, guarded.accepts(evidence))
        torch.testing.assert_close(outcome.scores["tilt"], guarded.scores(evidence)["tilt"])
        torch.testing.assert_close(outcome.distance, (outcome.x - x).flatten(1).abs().amax(dim=1))
        assert outcome.distance.max() <= FAR + 1e-6
        assert 0 <= outcome.x.min() <= outcome.x.max() <= 1
        assert torch.equal(outcome.found, outcome.worth > 1)
        assert (outcome.forwards > 0).all()


def test_the_joint_attack_is_never_weaker_than_what_it_begins_with(tilted):
    found = tilted[-1]
    for weaker in ("minimal", "confident"):
        assert not (found[weaker].found & ~found["joint"].found).any()
        assert (found["joint"].worth >= found[weaker].worth).all()


@dataclass(frozen=True)
class Level:
    """A score that is the mean of the image."""

    def __call__(self, evidence):
        return evidence.images.flatten(1).double().cpu().mean(dim=1)


class Tied(Plane):
    """Two classes that tie in a band, where the first is the answer."""

    def forward(self, x):
        m = x.flatten(1).mean(dim=1) - 0.5
        return torch.stack([(m - 0.01).relu(), (-m - 0.01).relu()], dim=1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_tie_that_the_label_loses_is_a_wrong_answer(norm):
    classifier = BoundClassifier(Tied().eval(), classes=CLASSES, input_shape=SHAPE)
    guarded = GuardedClassifier(classifier, {"level": Level()}, {"level": 0.5})
    x = torch.linspace(0.40, 0.495, ROWS)[:, None, None, None].expand(ROWS, *SHAPE).contiguous()
    found = attack_guard(guarded, x, torch.ones(ROWS, dtype=torch.int64), keys(), eps=0.1, norm=norm, steps=10)
    for outcome in found.values():
        assert torch.equal(outcome.found, outcome.worth > 1)
    for weaker in ("minimal", "confident"):
        assert not (found[weaker].found & ~found["joint"].found).any()
    tied = x.flatten(1).mean(dim=1) > 0.49
    assert found["joint"].found[tied].all()


def test_the_least_room_tells_on_either_side():
    for bound, given in ((1 + 1e-15, True), (1 - 1e-15, False)):
        guarded, x, _ = setting({"level": lambda e: torch.ones(len(e), dtype=torch.float64)}, {"level": bound})
        assert guarded.accepts(guarded.evidence(x)).all() == given
        wrong = torch.where(Plane()(x)[:, 1] > 0, 0, 1)
        assert torch.equal(worth(guarded, guarded.evidence(x), wrong) > 1, torch.full((ROWS,), given))


def test_neither_batch_nor_order_matters(tilted):
    guarded, x, y, _, found = tilted
    order = torch.arange(ROWS - 1, -1, -2)
    some = attack_guard(guarded, x[order], y[order], keys().rows(order.tolist()), eps=FAR, steps=30, batch=5)
    for name, outcome in some.items():
        assert torch.equal(outcome.found, found[name].found[order])
        torch.testing.assert_close(outcome.x, found[name].x[order], rtol=0, atol=1e-5)
        assert torch.equal(outcome.forwards, found[name].forwards[order])


def test_a_surrogate_that_misleads_is_shown_up_by_the_attack_without_it(tilted):
    _, x, y, least, _ = tilted
    bound = float(least[least.isfinite()].quantile(0.9)) + 0.1
    misled, _, _ = setting({"tilt": Misled()}, {"tilt": bound})
    found = attack_guard(misled, x, y, keys(), eps=FAR, steps=40)
    assert (found["score_free"].found & ~found["joint"].found).any()
    assert not (found["joint"].found | found["score_free"].found)[least > bound].any()
    gap = found["joint"].surrogate_gap["tilt"]
    torch.testing.assert_close(gap, -2 * found["joint"].scores["tilt"])


class Sized(Plane):
    """The plane, with its logits in another unit."""

    def __init__(self, size=1.0):
        super().__init__()
        self.size = size

    def forward(self, x):
        return self.size * super().forward(x)


@pytest.fixture(scope="module")
def sized(tilted):
    """What is found where logits are of some size: wrong answers that are given, and right ones that are withheld."""
    x, y, bound = *tilted[1:3], tilted[0].bounds["tilt"]
    made = {}
    for size in (1.0, 1e-3, 1e3):
        classifier = BoundClassifier(Sized(size).eval(), classes=CLASSES, input_shape=SHAPE)
        guarded = GuardedClassifier(classifier, {"tilt": Tilt()}, {"tilt": bound})
        withheld = replace(guarded, bounds={"tilt": float(Tilt()(guarded.evidence(x)).max()) + 0.3})
        least = attack_guard(guarded, x, y, keys(), eps=FAR, steps=30, batch=16)["joint"]
        made[size] = least, force_abstention(withheld, x, y, keys(), eps=EPS / 4, steps=20)
    return made


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_no_size_of_the_logits_matters(size, sized):
    (found, withheld), (usual, usually_withheld) = sized[size], sized[1.0]
    assert torch.equal(found.found, usual.found)
    torch.testing.assert_close(found.scores["tilt"], usual.scores["tilt"], rtol=0, atol=0.02)
    assert torch.equal(withheld.accepted, usually_withheld.accepted)
    torch.testing.assert_close(withheld.scores["tilt"], usually_withheld.scores["tilt"], rtol=0, atol=0.02)
    assert 0 < usual.found.sum() < ROWS
    assert 0 < usually_withheld.accepted.sum() < ROWS


def test_a_point_outside_the_ball_goes_back_to_its_image():
    guarded, x, y = setting({"msp": MSP()}, {"msp": THRESHOLD})
    far = torch.where(torch.arange(ROWS)[:, None, None, None] % 2 == 0, (x + 0.2).clamp(0, 1), x + EPS / 2)
    found = judged(guarded, far, x, y, eps=EPS, norm="linf", batch=5, value=partial(worth, guarded), goal=y)
    assert torch.equal(found.x[::2], x[::2])
    assert torch.equal(found.x[1::2], far[1::2])


@pytest.mark.parametrize("attack", [GuardAscent(eps=EPS, steps=12), GuardSquares(eps=EPS, steps=12)], ids=repr)
def test_a_search_begins_where_it_is_told_and_stays_where_it_succeeds(attack):
    guarded, x, y = setting({"msp": MSP()}, {"msp": THRESHOLD})
    objective, begin = Objective(guarded.classifier, GuardLoss(guarded), guarded.success), Plane().worst(x, EPS)
    found = run(attack, objective, x, y, keys(), keep="worst", begin=begin)
    torch.testing.assert_close(found.loss_start, objective.answer(begin, y).loss.float())
    assert (found.loss_kept >= found.loss_start).all()
    there = found.loss_start > 1
    assert 0 < there.sum() < ROWS
    assert torch.equal(found.x[there], begin[there])
    assert (found.forwards[there] <= 4).all()
    assert (found.forwards[~there] >= 12).all()


def test_no_surrogate_makes_a_point_count():
    guarded, x, y = setting({"sealed": Sealed()}, {"sealed": 0.5})
    found = attack_guard(guarded, x, y, keys(), eps=EPS, steps=5)
    assert found["joint"].wrong.any()
    assert not any(outcome.found.any() for outcome in found.values())
    assert not found["joint"].zero_score_gradient.any()


def test_points_of_attackers_that_know_nothing_can_be_given(tilted):
    guarded, x, y, _, found = tilted
    known = {name: found[name].x for name in ("minimal", "confident")}
    again = attack_guard(guarded, x, y, keys(), eps=FAR, steps=30, batch=16, oblivious=known)
    torch.testing.assert_close(again["joint"].x, found["joint"].x)
    assert (again["joint"].forwards < found["joint"].forwards).all()


def test_right_answers_are_withheld_exactly_where_they_can_be():
    oracle = Plane()
    guarded, x, y = setting({"msp": MSP()}, {"msp": THRESHOLD}, oracle)
    found = force_abstention(guarded, x, y, keys(), eps=EPS / 2, steps=20)
    least = -ahead(oracle, oracle.worst(x, EPS / 2))
    plain = (least - CLEAR).abs() > 0.05
    assert not found.wrong.any()
    assert torch.equal(~found.accepted[plain], (least < CLEAR)[plain])
    assert 0 < (least < CLEAR)[plain].float().mean() < 1


def test_the_least_change_is_searched_once_for_all_sizes_and_counted():
    guarded, x, y = setting({"msp": MSP()}, {"msp": THRESHOLD})
    known = attack_guard(guarded, x, y, keys(), eps=EPS, steps=2)["minimal"]
    for eps in (EPS, EPS / 4):
        searched = force_abstention(guarded, x, y, keys(), eps=eps, steps=10)
        given = force_abstention(guarded, x, y, keys(), eps=eps, steps=10, minimal=known.x)
        torch.testing.assert_close(given.x, searched.x)
        more = (searched.forwards - given.forwards, searched.backwards - given.backwards)
        assert torch.equal(torch.stack(more), torch.stack([known.forwards, known.backwards]))


def test_confidence_is_turned_upside_down_and_no_answer_changes():
    oracle = Plane()
    guarded, x, y = setting({"msp": MSP()}, {"msp": THRESHOLD}, oracle)
    y = torch.where(torch.arange(ROWS) % 3 == 0, 1 - y, y)
    found = attack_confidence(guarded, x, y, keys(), eps=EPS, steps=40)
    answers = guarded.classifier(x).argmax(dim=1)
    assert torch.equal(found.predicted, answers)
    weakest, strongest = -ahead(oracle, oracle.worst(x, EPS)), -ahead(oracle, oracle.worst(x, -EPS))
    exact = torch.where(answers == y, -weakest.clamp(min=0), -strongest).double().sigmoid()
    torch.testing.assert_close(found.scores["msp"], exact, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("named", "words"),
    [({"eps": 8}, "Did you mean 8/255"), ({"steps": 0}, "steps"), ({"batch": 0}, "batch"), ({"passes": 0}, "passes"),
     ({"norm": "l7"}, "norm")],
)  # fmt: skip
def test_what_cannot_be_is_refused(named, words, tilted):
    guarded, x, y, _, _ = tilted
    with pytest.raises(InputError, match=words):
        attack_guard(guarded, x, y, keys(), **{"eps": EPS, **named})


@pytest.mark.parametrize("attack", [attack_guard, force_abstention, attack_confidence], ids=lambda each: each.__name__)
def test_rows_that_do_not_meet_and_models_without_gradients_are_refused(attack, tilted):
    guarded, x, y, _, _ = tilted
    for images, labels, own in ((x[:0], y[:0], keys(0)), (x, y[:3], keys()), (x, y, keys(3))):
        with pytest.raises(InputError, match="one label and one key for each image"):
            attack(guarded, images, labels, own, eps=EPS)
    blind = BoundClassifier(Detached().eval(), classes=CLASSES, input_shape=SHAPE)
    with pytest.raises(ModelError, match="follows gradients"):
        attack(replace(guarded, classifier=blind), x, y, keys(), eps=EPS)
