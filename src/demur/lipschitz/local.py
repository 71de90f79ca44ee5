"""How fast the logits do change around an image."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from demur.classifier import Classifier
from demur.randomness import Keys
from demur.shapes import Images, Logits, Scores

DENSE = 32
_ROUNDS = 16
_NUMBERS = 1 << 26
_STEP = 1e-4  # of the pixel range, root mean square

Way = Callable[[Tensor], Tensor]


def local_norms(classifier: Classifier, images: Images) -> Scores:
    """The spectral norm (rows,) of the Jacobian of the logits by each image: high where a small change does much.

    An empirical lower bound of every Lipschitz constant of the model, in logits per L2 of pixels; NaN where it
    overflows. Up to 32 logits are differentiated one by one and the norm is exact. Of more, 16 directions are, which
    power iteration on J·Jᵀ finds from a fixed one; the norm on the span of some directions is no larger than the whole
    one, so it is a lower bound too.
    """
    rows = max(1, _NUMBERS // (DENSE * images[:1].numel()))
    with classifier.frozen(), torch.enable_grad():
        return torch.cat([_norms(classifier, part) for part in torch.split(images, rows)])


def _norms(classifier: Classifier, images: Images) -> Scores:
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
    return _largest(_searched(back, forth, logits))


def _searched(back: Way, forth: Way, like: Logits) -> list[Tensor]:
    """Gradients along orthonormal directions u, Jᵀu, all rows at once.

    Each direction is what J·Jᵀ makes of the one before. Only J's part of that is a difference of two answers and so
    not exact: it decides where to look and not what is seen.
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
