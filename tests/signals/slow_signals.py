"""Signals that read more than one row of logits, as slow functions of a world that copy the definitions."""

import math

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from demur.randomness import uniform


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def pairs_won(uncertainty, wrong):
    """AUROC by counting pairs."""
    wins = [(bad > good) + (bad == good) / 2 for bad in uncertainty[wrong] for good in uncertainty[~wrong]]
    return float(np.mean(wins))


def msp(z):
    return 1 - softmax(z).max()


def entropy(z):
    return -sum(p * math.log(p) for p in softmax(z))


def pnorm(p):
    def score(z):
        centred = z - z.mean()
        length = 1 if p == 0 else (np.abs(centred) ** p).sum() ** (1 / p)
        return -centred.max() / length

    return score


def knn(k):
    def sphere(h):
        return h / np.linalg.norm(h)

    def score(world):
        bank = [sphere(h) for h in world.reference_features]
        return [sorted(np.linalg.norm(sphere(h) - other) for other in bank)[k - 1] for h in world.features]

    return score


def shrunk(x):
    """The covariance of centred rows, shrunk to a multiple of one: Ledoit & Wolf (2004), lemma 3.2 to 3.4."""
    n, width = x.shape
    sample = sum(np.outer(row, row) for row in x) / n
    mean = np.trace(sample) / width
    target = mean * np.eye(width)
    apart = np.square(sample - target).sum() / width
    noise = sum(np.square(np.outer(row, row) - sample).sum() for row in x) / n**2 / width
    share = min(noise, apart) / apart
    return share * target + (1 - share) * sample


def mahalanobis(*, relative):
    def score(world):
        x, labels = world.reference_features, world.labels.numpy()
        means = {k: x[labels == k].mean(axis=0) for k in set(labels.tolist())}
        inverse = np.linalg.inv(shrunk(np.stack([row - means[k] for row, k in zip(x, labels.tolist(), strict=True)])))
        near = [min((h - m) @ inverse @ (h - m) for m in means.values()) for h in world.features]
        if not relative:
            return near
        inverse, middle = np.linalg.inv(shrunk(x - x.mean(axis=0))), x.mean(axis=0)
        return [one - (h - middle) @ inverse @ (h - middle) for one, h in zip(near, world.features, strict=True)]

    return score


def vim(dim):
    def score(world):
        weight, bias = world.net.weights
        origin = -np.linalg.pinv(weight) @ bias
        centred = world.reference_features - origin
        main = np.linalg.svd(centred)[2][:dim]

        def residual(h):
            return np.linalg.norm(h - origin - main.T @ main @ (h - origin))

        def logits(h):
            return weight @ h + bias

        alpha = sum(logits(h).max() for h in world.reference_features) / sum(
            residual(h) for h in world.reference_features
        )
        return [alpha * residual(h) - math.log(np.exp(logits(h)).sum()) for h in world.features]

    return score


def relative_u(balance, temperature):
    def score(world):
        p = [softmax(z / temperature) for z in world.reference_logits]
        classes = len(p[0])
        apart = np.zeros((classes, classes))
        for i in range(classes):
            for j in range(classes):
                bad = np.mean([row[i] * row[j] for row, wrong in zip(p, world.wrong, strict=True) if wrong])
                good = np.mean([row[i] * row[j] for row, wrong in zip(p, world.wrong, strict=True) if not wrong])
                apart[i, j] = max(0, balance * bad - (1 - balance) * good) if i != j else 0
        apart /= np.sqrt(np.square(apart).sum())
        return [softmax(z / temperature) @ apart @ softmax(z / temperature) for z in world.logits]

    return score


def maxlogit_pnorm(largest):
    def score(world):
        best, scored = msp, pairs_won(np.array([msp(z) for z in world.reference_logits]), world.wrong)
        for p in range(largest + 1):
            found = pairs_won(np.array([pnorm(p)(z) for z in world.reference_logits]), world.wrong)
            if found > scored:
                best, scored = pnorm(p), found
        return [best(z) for z in world.logits]

    return score


def temperature_scaled(signal):
    def score(world):
        def slope(inverse):
            """Of the negative log-likelihood in 1/T."""
            rows = zip(world.reference_logits, world.labels.tolist(), strict=True)
            return sum(softmax(inverse * z) @ z - z[label] for z, label in rows)

        inverse = brentq(slope, 1e-3, 1e3, xtol=1e-14)
        return [signal(inverse * z) for z in world.logits]

    return score


def tta(*, move, mirror):
    def score(world):
        found = []
        for image, z in zip(world.images.numpy(), world.logits, strict=True):
            moves = [(0, 0), (-move, 0), (move, 0), (0, -move), (0, move)]
            views = [moved(image, down, right) for down, right in moves] + (
                [image[:, :, ::-1].copy()] if mirror else []
            )
            p = [softmax(answer(world, view)) for view in views]
            found.append(1 - np.mean([each[z.argmax()] for each in p]))
        return found

    return score


def moved(image, down, right):
    height, width = image.shape[1:]
    out = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            at = min(max(row + down, 0), height - 1), min(max(column + right, 0), width - 1)
            out[:, row, column] = image[:, at[0], at[1]]
    return out


def answer(world, image):
    with torch.no_grad():
        return world.net(torch.from_numpy(image)[None])[0].double().numpy()


def ensemble_disagreement(world):
    """By the entropies of the definition, of nets that are asked one by one."""
    with torch.no_grad():
        passes = [net(world.images).double().numpy() for net in (world.net, world.other)]
    found = []
    for rows in zip(*passes, strict=True):
        p = [softmax(z) for z in rows]
        total = -sum(q * math.log(q) for q in np.mean(p, axis=0))
        found.append(total - np.mean([-sum(q * math.log(q) for q in each) for each in p]))
    return np.array(found)


def mc_dropout(n, *, mutual):
    def score(world):
        net, found = world.net, []
        seeds = world.keys.seeds("dropout")
        for row in range(world.rows):
            seed, passes = seeds[row : row + 1], []
            for step in range(n):
                with torch.no_grad():
                    maps = torch.max_pool2d(torch.relu(net.conv(4 * world.images[row : row + 1] - 2)), 2)
                    stays = uniform(seed, "dropout maps 1", torch.empty(1, 6), step) >= 0.25
                    hidden = torch.relu(net.wide((maps * stays[:, :, None, None] / 0.75).flatten(1)))
                    stays = uniform(seed, "dropout values 1", torch.empty(1, 16), step) >= 0.4
                    passes.append(net.head(hidden * stays / 0.6)[0].double().numpy())
            p = [softmax(z) for z in passes]
            total = -sum(q * math.log(q) for q in np.mean(p, axis=0))
            found.append(total - np.mean([entropy(z) for z in passes]) * mutual)
        return found

    return score


def odin(temperature, eps):
    def score(world):
        found = []
        for image in world.images:
            x = image[None].clone().requires_grad_()
            p = (world.net(x)[0] / temperature).softmax(dim=0)
            p.max().log().backward()
            nearer = (x + eps * x.grad.sign()).clamp(0, 1).detach()
            found.append(msp(answer(world, nearer[0].numpy()) / temperature))
        world.net.zero_grad(set_to_none=True)
        return found

    return score


def placed(known):
    """A function that says where a number lies on the scale of a standard normal, by its rank among known ones."""
    reach = norm.isf(0.5 / len(known))
    places = np.linspace(-reach, reach, 65)
    at = [np.quantile(known, share, method="hazen") for share in norm.cdf(places)]

    def place(number):
        if number <= at[0] or number >= at[-1]:
            end = 0 if number <= at[0] else -1
            return places[end] + (number - at[end]) * 2 * reach / (at[-1] - at[0])
        above = next(i for i in range(65) if at[i] >= number)
        share = (number - at[above - 1]) / (at[above] - at[above - 1])
        return places[above - 1] + share * (places[above] - places[above - 1])

    return place


def stack(signals, penalty):
    """Of unfitted signals of logits without ties."""

    def score(world):
        known = np.array([[signal(z) for signal in signals] for z in world.reference_logits])
        new = np.array([[signal(z) for signal in signals] for z in world.logits])

        curves = [placed(column) for column in known.T]
        known, new = (np.array([[curve(one) for curve, one in zip(curves, row, strict=True)] for row in rows])
                      for rows in (known, new))  # fmt: skip
        scale = known.std(axis=0)
        model = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
        model.fit(known / scale, world.wrong)
        return model.decision_function(new / scale)

    return score
