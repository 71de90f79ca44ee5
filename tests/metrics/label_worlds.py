"""Classes as clouds of points, right by construction, seen by models that are good, half blind, noisy or too sure."""

import numpy as np


def world(*, classes=10, rows=2000, gap=3.0, kind="best", seed=0):
    """Logits (rows, classes) and labels: `gap` is how far apart the clouds lie, in deviations."""
    draw = np.random.default_rng(seed)
    axes = min(classes, 20)
    centres = draw.normal(0, 1, (classes, axes)) * gap / np.sqrt(axes)
    labels = draw.integers(0, classes, rows)
    points = centres[labels] + draw.normal(0, 1, (rows, axes))
    if kind == "hard class":  # a third of the first class looks exactly like the second
        alike = (labels == 0) & (draw.uniform(size=rows) < 1 / 3)
        points[alike] += centres[1] - centres[0]
    if kind == "half blind":
        points, centres = points[:, : axes // 2], centres[:, : axes // 2]
    logits = points @ centres.T - (centres**2).sum(axis=1) / 2
    return logits + (draw.standard_t(3, logits.shape) if kind == "noisy" else 0), labels


KINDS = ("best", "noisy", "half blind", "hard class")


def flipped(labels, classes, share, seed=0):
    """Some labels replaced by another class, any of them alike, and which."""
    draw = np.random.default_rng(seed)
    wrong = draw.uniform(size=len(labels)) < share
    return np.where(wrong, (labels + draw.integers(1, classes, len(labels))) % classes, labels), wrong
