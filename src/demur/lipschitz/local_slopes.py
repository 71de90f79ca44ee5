"""How fast the logits do change around an image, and all that an audit records of it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from demur.classifier import BoundClassifier
from demur.lipschitz.bound import Bound, upper_bound
from demur.randomness import Keys
from demur.shapes import Images, Labels, Logits, Scores

DENSE = 32
_ROUNDS = 16
_NUMBERS = 1 << 26
_STEP = 1e-4  # of the pixel range, root mean square

Way = Callable[[Tensor], Tensor]


def local_norms(classifier: BoundClassifier, images: Images) -> Scores:
    """The spectral norm (rows,) of the Jacobian of the logits by each image: high where a small change does much.

    An empirical lower bound of every Lipschitz constant of the model, in logits per L2 of pixels; NaN where it
    overflows. Up to 32 logits are differentiated one by one and the norm is exact. Of more, 16 directions are, which
    power iteration on J·Jᵀ finds from a fixed one; the norm on the span of some directions is no larger than the whole
    one, so it is a lower bound too.
    """
    rows = max(1, _NUMBERS // (DENSE * images[:1].numel()))
    with classifier.frozen(), torch.enable_grad():
        return torch.cat([_norms(classifier, part) for part in torch.split(images, rows)])


def _norms(classifier: BoundClassifier, images: Images) -> Scores:
    x = images.detach().requires_grad_()
    logits = classifier.logits(x)
    if not logits.requires_grad:
        return torch.zeros(len(images), dtype=torch.float64, device=images.device)

    def back(u: Tensor) -> Tensor:
        return torch.autograd.grad(logits, x, u.to(logits), retain_graph=True)[0].flatten(1)

    def forth(v: Tensor) -> Tensor:
        step = _STEP * v.shape[1] ** 0.5 * normalize(v, dim=1).view_as(x)
        with torch.no_grad():
            return (classifier.logits(x + step) - logits).double()

    if logits.shape[1] <= DENSE:
        units = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
        return _largest([back(unit.expand_as(logits)) for unit in units])
    return _largest(_search_directions(back, forth, logits))


def _search_directions(back: Way, forth: Way, like: Logits) -> list[Tensor]:
    """Gradients along orthonormal directions u, Jᵀu, all rows at once.

    Each direction is what J·Jᵀ makes of the one before. Only J's part of that is a difference of two answers and so
    not exact: it decides along which directions slopes are taken, and not the slopes.
    """
    start = Keys.of(0, ["direction"], "local norm").normal(like[:1].detach(), "start")
    basis, seen = normalize(start.expand_as(like).double(), dim=1)[:, None], []
    for _ in range(_ROUNDS):
        seen.append(back(basis[:, -1]))
        rest = normalize(forth(seen[-1]), dim=1)
        for _ in range(2):  # once leaves rounding in
            rest = rest - torch.einsum("nkc,nkd,nd->nc", basis, basis, rest)
        basis = torch.cat([basis, normalize(rest, dim=1)[:, None]], dim=1)
    return seen


def _largest(gradients: list[Tensor]) -> Scores:
    """The largest singular value of each row's matrix of gradients; NaN where it is not finite."""
    gram = torch.stack([row.double() @ row.double().T for row in torch.stack(gradients, dim=1)])
    finite = gram.isfinite().all(dim=2).all(dim=1)
    largest = torch.linalg.eigvalsh(torch.where(finite[:, None, None], gram, 0.0))[:, -1]
    return torch.where(finite, largest.clamp(min=0).sqrt(), torch.nan)


def lipschitz_facts(
    classifier: BoundClassifier, images: Images, labels: Labels, sample_ids: Sequence[str], batch: int = 64
) -> dict[str, Any]:
    """Norms of layers, the network's upper bound, and of each image the local norm and the margin, ready for JSON.

    From L2 of pixels in [0, 1] to L2 of logits. `margins` are the largest minus the second largest logit, None where
    the answer is wrong; an image keeps its answer within margin/(√2·upper), Tsuzuku et al. (2018), arXiv:1802.04034.
    """
    parts = [part.to(classifier.device) for part in torch.split(images, batch)]
    with torch.no_grad():
        logits = [classifier.logits(part) for part in parts]
    margins = torch.cat([_margins(*pair) for pair in zip(logits, torch.split(labels, batch), strict=True)])
    bound = upper_bound(classifier)
    return {
        "layers": _layers(bound),
        "upper": bound.upper if bound.upper is None else _number(bound.upper),
        "reason": bound.reason,
        "sample_ids": list(sample_ids),
        "lower": [_number(value) for part in parts for value in local_norms(classifier, part).tolist()],
        "margins": [_number(value) for value in margins.tolist()],
    }


def _layers(bound: Bound) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "layers": list(row.piece.layers),
            "kind": row.kind,
            "norm": _number(bound.norms[row.piece].value),
            "iterations": bound.norms[row.piece].iterations,
            "converged": bound.norms[row.piece].converged,
        }
        for row in bound.rows
    ]


def _margins(logits: Logits, labels: Labels) -> Tensor:
    """NaN where the answer is wrong."""
    best = logits.double().topk(2, dim=1).values
    right = logits.argmax(dim=1) == labels.to(logits.device)
    return torch.where(right, best[:, 0] - best[:, 1], torch.nan)


def _number(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None
