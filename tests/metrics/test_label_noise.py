"""Wrong labels at random are told from honest errors: planted ones are found, right ones raise nothing."""

import numpy as np
import pytest
from tests.metrics.label_worlds import KINDS, flipped, world

from demur.metrics import confident_learning
from demur.metrics.label_noise import SURE, _fit, _ranks, _spread, _surest, label_noise

WORLDS = [(kind, classes, gap) for kind in KINDS for classes in (3, 5, 10, 100) for gap in (2.0, 3.0, 5.0)]


@pytest.mark.parametrize(("kind", "classes", "gap"), WORLDS)
def test_labels_that_are_right_raise_nothing(kind, classes, gap):
    """Errors from 1 to 90 %, of models that know how sure they may be and of others."""
    assert not label_noise(*world(kind=kind, classes=classes, gap=gap, rows=1000, seed=1)).evidence


@pytest.mark.slow
def test_labels_that_are_right_raise_nothing_in_hundreds_of_worlds():
    """The odds: at most 1 in 100."""
    raised = [
        (kind, classes, gap, seed)
        for seed in range(10)
        for kind, classes, gap in WORLDS
        if label_noise(*world(kind=kind, classes=classes, gap=gap, rows=1000, seed=seed)).evidence
    ]
    assert len(raised) <= 4, raised


@pytest.mark.parametrize("classes", [3, 10, 100])
@pytest.mark.parametrize("kind", ["best", "noisy"])
def test_ten_in_a_hundred_planted_are_found(kind, classes):
    found = []
    for seed in range(10):
        logits, labels = world(kind=kind, classes=classes, gap=5.0, seed=seed)
        wrong, planted = flipped(labels, classes, 0.1, seed=seed)
        noise = label_noise(logits, wrong)
        found.append((noise.evidence, noise.share.low <= planted.mean() <= noise.share.high))
    evidence, covered = np.sum(found, axis=0)
    assert evidence >= 9
    assert covered >= 8


@pytest.mark.parametrize("factor", [1e-5, 0.1, 30.0])
def test_neither_the_scale_nor_the_confidence_of_the_logits_matters(factor):
    logits, labels = world(gap=4.0, seed=2)
    wrong, _ = flipped(labels, 10, 0.1)
    assert label_noise(factor * logits, wrong).share == label_noise(logits, wrong).share
    assert label_noise(factor * logits, wrong).evidence
    assert not label_noise(factor * logits, labels).evidence


def test_two_classes_cannot_be_told():
    logits, labels = world(classes=2, seed=1)
    noise = label_noise(logits, flipped(labels, 2, 0.1)[0])
    assert not noise.evidence
    assert noise.share.reason == "cannot be told with two classes"


def test_few_rows_cannot_be_told():
    logits, labels = world(rows=100)
    assert label_noise(logits, labels).share.reason == "cannot be told with fewer than 30 sure answers"
    assert not label_noise(logits[:0], labels[:0]).evidence


def test_a_model_without_errors_is_at_rest():
    logits, labels = world(gap=40.0)
    noise = label_noise(logits, labels)
    assert (noise.errors, noise.share.value, noise.fit, noise.evidence) == (0, 0, 0, False)


def test_groups_widen_the_interval():
    logits, labels = world(gap=5.0, rows=1500)
    labels = labels.copy()
    labels[:150] = (labels[:150] + 3) % 10
    order = np.random.default_rng(0).permutation(1500)
    groups = np.array([f"g{row // 30}" for row in range(1500)])
    alone, together = (
        label_noise(logits[order], labels[order]),
        label_noise(logits[order], labels[order], groups[order]),
    )
    assert together.share.unit == "group"
    assert together.share.high - together.share.low > 1.5 * (alone.share.high - alone.share.low)


def test_the_surest_lead_by_most():
    logits = np.random.default_rng(0).normal(size=(100, 4))
    best = np.sort(logits, axis=1)
    lead = best[:, -1] - best[:, -2]
    sure = _surest(logits)
    assert sure.sum() == SURE * 100
    assert lead[sure].min() >= lead[~sure].max()


def test_ties_share_the_middle_of_their_places():
    logits = np.array([[3.0, 1, 1, 0], [0, 0, 0, 0], [2, 5, 1, 0]])
    assert _ranks(logits, np.array([1, 2, 3])).tolist() == [1.5, 1.5, 3.0]


def test_what_crowds_into_one_pair_is_left_out():
    answers, labels = np.zeros(400, int), np.zeros(400, int)
    answers[:200] = 1
    labels[:200] = 1
    labels[:30] = 2  # a confusion
    labels[[40, 41, 250, 251]] = [0, 3, 1, 3]  # here and there
    wrong = answers != labels
    kept = _spread(wrong, np.ones(400, bool), answers, labels, 4, weight=1.0)
    assert np.flatnonzero(kept).tolist() == [40, 41, 250, 251]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_arbitrary_labels_is_found(share):
    draw = np.random.default_rng(5)
    logits = draw.normal(size=(3000, 6)) * 2
    best = logits.argmax(axis=1)
    others = np.where(np.arange(6) == best[:, None], -np.inf, 0.5 * logits)
    honest = (others + draw.gumbel(size=others.shape)).argmax(axis=1)
    labels = np.where(draw.uniform(size=3000) < share, (best + draw.integers(1, 6, 3000)) % 6, honest)
    assert _fit(logits, labels, np.arange(len(labels))) == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize("classes", [3, 7])
def test_some_rows_at_a_time_say_what_all_at_once_do(classes, monkeypatch):
    logits, labels = world(classes=classes, rows=1500, gap=3.0, seed=2)
    wrong, _ = flipped(labels, classes, 0.1, seed=3)
    whole = label_noise(logits, wrong)
    monkeypatch.setattr(confident_learning, "_NUMBERS", 101 * classes)
    assert label_noise(logits, wrong) == whole
    assert _surest(logits).sum() == 300
