"""The confident joint against its definition, row by row, and planted wrong labels at the top of the list."""

import numpy as np
import pytest
from tests.metrics.label_worlds import flipped, world

from demur.metrics import confident_learning
from demur.metrics.confident_learning import LogitParts, confident_joint, suspects


def slow(logits, labels):
    classes = logits.shape[1]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    thresholds = [np.mean([row[k] for row, label in zip(p, labels, strict=True) if label == k]) for k in range(classes)]
    counts = np.zeros((classes, classes), int)
    for row, label in zip(p, labels, strict=True):
        above = [k for k in range(classes) if row[k] >= thresholds[k]]
        if above:
            counts[label, max(above, key=lambda k: row[k])] += 1
    scaled = counts / counts.sum(axis=1, keepdims=True) * np.bincount(labels)[:, None]
    return counts, 1 - np.trace(scaled) / scaled.sum()


@pytest.mark.parametrize("numbers", [2**22, 50])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_joint_is_its_definition(classes, numbers, monkeypatch):
    monkeypatch.setattr(confident_learning, "_NUMBERS", numbers)
    logits, labels = world(classes=classes, rows=300, gap=2.0, seed=classes)
    labels, _ = flipped(labels, classes, 0.1, seed=1)
    found = confident_joint(logits.astype(np.float32), labels)
    counts, share = slow(logits.astype(np.float32).astype(float), labels)
    assert found.counts.tolist() == counts.tolist()
    assert found.share == pytest.approx(share)


def test_a_class_without_labels_is_never_confident():
    found = confident_joint(np.array([[0.0, 1.0, 9.0], [2.0, 1.0, 9.0]]), np.array([0, 1]))
    assert found.counts[:, 2].tolist() == [0, 0, 0]


def test_no_rows_have_no_share():
    found = confident_joint(np.zeros((0, 3)), np.zeros(0, np.int64))
    assert np.isnan(found.share)
    assert suspects(np.zeros((0, 3)), np.zeros(0, np.int64), 5)[0].tolist() == []


def test_planted_labels_lead_the_list():
    logits, labels = world(classes=10, rows=1500, gap=4.0, seed=3)
    wrong, planted = flipped(labels, 10, 0.1, seed=4)
    rows, suggestions = suspects(logits, wrong, 24)
    assert len(rows) == 24
    assert planted[rows].mean() > 0.9
    assert (suggestions == labels[rows]).mean() > 0.9


def test_the_list_is_by_the_lead_of_the_suggestion():
    logits, labels = world(classes=4, rows=400, gap=2.0, seed=5)
    rows, suggestions = suspects(logits, labels, 12)
    lead = logits[rows, suggestions] - logits[rows, labels[rows]]
    assert (np.diff(lead) <= 0).all()
    assert (suggestions != labels[rows]).all()


@pytest.mark.parametrize("size", [1, 7, 512, 5000])
def test_parts_tell_what_the_whole_does(size, monkeypatch):
    logits, labels = world(classes=6, rows=1300, gap=2.0, seed=6)
    logits = np.asfortranarray(logits.astype(np.float32))
    monkeypatch.setattr(confident_learning, "_NUMBERS", 6 * 500)
    reads = []

    def read():
        reads.append(1)
        yield from (logits[start : start + size] for start in range(0, len(logits), size))

    parts = LogitParts(rows=len(logits), classes=6, read=read)
    assert confident_joint(parts, labels).counts.tolist() == confident_joint(logits, labels).counts.tolist()
    assert [each.tolist() for each in suspects(parts, labels, 40)] == [
        each.tolist() for each in suspects(logits, labels, 40)
    ]
    assert len(reads) == 5
    assert suspects(LogitParts(rows=0, classes=6, read=lambda: iter(())), labels[:0], 5)[0].tolist() == []
