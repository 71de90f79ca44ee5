"""Signals that spoil the image or the model, or read its layers, as slow functions of a world."""

import copy
import io
import itertools
import math

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import median_filter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from tests.signals.slow_signals import softmax

from demur.signals.mutants import Mutation


def answer(net, image):
    with torch.no_grad():
        return net(torch.from_numpy(np.stack([image, image]).astype(np.float32)))[0].double().numpy()


def in_few_colours(bits):
    return lambda image: np.round(image.astype(np.float32) * (2**bits - 1)) / (2**bits - 1)


def by_median(size):
    return lambda image: np.stack([median_filter(plane, size, mode="reflect") for plane in image])


def through_jpeg(quality):
    def squeeze(image):
        buffer = io.BytesIO()
        Image.fromarray(np.round(image[0] * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))[None] / 255

    return squeeze


def feature_squeezing(*squeezers):
    def score(world):
        images = world.images.numpy()
        plain = [softmax(answer(world.net, image)) for image in images]
        return [
            max(np.abs(p - softmax(answer(world.net, squeeze(image)))).sum() for squeeze in squeezers)
            for p, image in zip(plain, images, strict=True)
        ]

    return score


def entropy_in(values, edges):
    counts, _ = np.histogram(values, edges)
    return -sum(n / counts.sum() * math.log(n / counts.sum()) for n in counts if n)


def activation_entropy(bins=None, edges=None, side=lambda away: abs(away)):
    def score(world):
        known, new = (
            features.astype(np.float32).astype(np.float64) for features in (world.reference_features, world.features)
        )
        cuts = edges
        if edges is None:
            positive = known[known > 0]
            inner = [np.quantile(positive, k / (bins - 1)) for k in range(1, bins - 1)]
            cuts = [0, np.finfo(np.float32).tiny, *inner, np.finfo(np.float32).max]
        fitted = [entropy_in(row, cuts) for row in known]
        return [side((entropy_in(row, cuts) - np.mean(fitted)) / np.std(fitted)) for row in new]

    return score


def contributions(world, features, logits):
    """W[c, k] (h_k − h_k of the black image), c the answer."""
    weight, _ = world.net.weights
    with torch.no_grad():
        black = world.net.body(torch.zeros(2, *world.images.shape[1:])).double().numpy()[0]
    return np.array(
        [
            [weight[z.argmax(), k] * (h[k] - black[k]) for k in range(len(h))]
            for h, z in zip(features, logits, strict=True)
        ]
    )


def conductance(folds, estimator, by_class=False):
    def score(world):
        known = contributions(world, world.reference_features, world.reference_logits)
        new = contributions(world, world.features, world.logits)
        scaled, fresh = np.empty_like(known), np.empty_like(new)
        for k in range(world.logits.shape[1]):
            mine, fresh_mine = world.reference_logits.argmax(axis=1) == k, world.logits.argmax(axis=1) == k
            among = known[mine] if by_class and mine.sum() >= 10 else known
            width = among.max(axis=0) - among.min(axis=0)
            width[width == 0] = 1
            for values, rows, target in ((known, mine, scaled), (new, fresh_mine, fresh)):
                target[rows] = (values[rows] - among.mean(axis=0)) / width
        judged = []
        for train, _ in StratifiedKFold(folds, shuffle=True, random_state=0).split(scaled, world.wrong):
            judged.append(estimator(scaled[train], world.wrong[train], fresh))
        return np.mean(judged, axis=0)

    return score


def by_logistic_regression(x, y, new):
    middle, spread = x.mean(axis=0), x.std(axis=0)
    spread[spread == 0] = 1
    model = LogisticRegression(C=0.1, tol=1e-8, max_iter=10_000).fit((x - middle) / spread, y)
    return model.predict_proba((new - middle) / spread)[:, 1]


def mutant(net, changes):
    """A copy of the net, spoilt."""
    spoilt = copy.deepcopy(net)
    with torch.no_grad():
        for change in changes:
            for filter_, weights in zip(change.filters.tolist(), change.weights, strict=True):
                spoilt.get_submodule(change.layer).weight[filter_] = weights
    return spoilt


def label_change_rate(operator, gamma, mutants, kept=0.9):
    def score(world):
        layers = {"conv": world.net.conv.weight.detach()}
        making = Mutation(operator=operator, gamma=gamma, seed=0)
        copies = []
        for number in itertools.count():
            if len(copies) == mutants:
                break
            spoilt = mutant(world.net, making.mutant(layers, number))
            right = world._of(spoilt, world.reference_images).argmax(axis=1) == world.labels.numpy()
            if right.mean() >= kept * (~world.wrong).mean():
                copies.append(spoilt)
        own = world.logits.argmax(axis=1)
        return np.mean([world._of(spoilt, world.images).argmax(axis=1) != own for spoilt in copies], axis=0)

    return score
