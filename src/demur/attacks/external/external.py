"""Attacks of other libraries and of the user, run on a model that counts its passes and gradients."""

import contextlib
import io
import random
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from demur.attacks.core.attack import Attack, Refusal, refuse
from demur.attacks.core.attack_state import Keep, Norm, Outcome, Trouble
from demur.attacks.core.best_points import BestPoints, inside_ball, verified
from demur.attacks.core.hyperparameters import check_external
from demur.attacks.core.objective import Objective
from demur.errors import ModelError
from demur.randomness import Keys
from demur.shapes import Flags, Images, Labels, Logits, Scores


class CountingModel(nn.Module):
    """A module that answers images in [0, 1] with logits, counts each row's passes and remembers successes.

    A row of a query stands for the original at its position where the query is as long as the batch, else for the
    nearest original. `forwards` and `backwards` (rows,) count passes; `fooled` (rows,) marks originals for which it was
    given a point of their ball and the unit box that succeeds.

    Args:
        objective: what counts as success, and the classifier that answers.
        x: the originals.
        y: their labels.
        eps: the radius (rows,) of each one's ball, infinite where there is none.
        norm: of the balls.
    """

    def __init__(self, objective: Objective, x: Images, y: Labels, eps: Scores, norm: Norm) -> None:
        super().__init__()
        self.inner = objective.classifier.as_module()  # libraries look for parameters to learn the device
        self.training = False
        self.forwards, self.backwards = (torch.zeros(len(x), dtype=torch.int32, device=x.device) for _ in range(2))
        self.fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._objective, self._x, self._y, self._eps, self._norm = objective, x, y, eps, norm

    def __len__(self) -> int:
        return len(self._x)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self._objective.classifier.input_shape

    @property
    def classes(self) -> int:
        """How many."""
        return len(self._objective.classifier.classes)

    def train(self, mode: bool = True) -> "CountingModel":  # noqa: FBT001, FBT002 - the signature of nn.Module
        """Stay in evaluation mode.

        Raises:
            ModelError: training mode is switched on.
        """
        if mode:
            raise _trained()
        return self

    def forward(self, images: Images) -> Logits:
        """Logits; differentiable where autograd is on."""
        if any(layer.training for layer in self.inner.modules()):
            raise _trained()
        images = images.to(self._x)
        whose = self._whose(images.detach())
        logits = self._objective.classifier.logits(images)
        self._count(self.forwards, whose)
        if logits.requires_grad:
            count = partial(self._backward, whose)
            logits.register_hook(count)  # type: ignore[no-untyped-call]  # torch gives it no types
        self._remember(images.detach(), logits.detach(), whose)
        return logits

    def _whose(self, images: Images) -> Tensor:
        if len(images) == len(self):
            return torch.arange(len(self), device=self._x.device)
        return torch.cdist(images.flatten(1), self._x.flatten(1)).argmin(dim=1)

    def _remember(self, images: Images, logits: Logits, whose: Tensor) -> None:
        allowed = inside_ball(images, self._x[whose], self._eps[whose], self._norm)
        y = self._y[whose]
        answer = self._objective.answer(images, y, logits)
        self.fooled[whose[allowed & self._objective.fooled(answer, y)]] = True

    def _backward(self, whose: Tensor, gradient: Tensor) -> None:  # noqa: ARG002 - what a hook is given
        self._count(self.backwards, whose)

    @staticmethod
    def _count(counter: Tensor, whose: Tensor) -> None:
        counter.index_add_(0, whose, torch.ones_like(whose, dtype=counter.dtype))


def _trained() -> ModelError:
    return ModelError(
        "a model under attack must stay in evaluation mode; the attack switched it to training mode, where it answers "
        "differently each time and drifts. Leave model.train() out of the attack."
    )


@contextmanager
def isolated(module: nn.Module, seed: int) -> Iterator[None]:
    """Random numbers of PyTorch, NumPy and Python come from `seed` inside and go on as before afterwards.

    So do the modes of the module's layers and which of its weights take gradients, also after an exception. Autograd is
    on; warnings are not shown and what is printed to stdout, which belongs to results, is dropped.
    """
    modes = [(layer, layer.training) for layer in module.modules()]
    thawed = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    numbers, python = np.random.get_state(), random.getstate()  # noqa: NPY002 - it is the state others draw from
    with contextlib.ExitStack() as room:
        room.enter_context(torch.random.fork_rng())
        room.enter_context(torch.enable_grad())
        room.enter_context(warnings.catch_warnings())
        room.enter_context(contextlib.redirect_stdout(io.StringIO()))
        warnings.simplefilter("ignore")
        try:
            _seed(seed)
            yield
        finally:
            np.random.set_state(numbers)  # noqa: NPY002 - it is the state others draw from
            random.setstate(python)
            for layer, training in modes:
                layer.training = training
            for parameter, takes in thawed:
                parameter.requires_grad = takes


def _seed(seed: int) -> None:
    """Foreign code knows no keys: it draws from global state, so that is what must depend on them."""
    torch.manual_seed(seed)  # noqa: TID251 - see above
    np.random.seed(seed)  # noqa: TID251, NPY002 - see above
    random.seed(seed)


Bound: TypeAlias = Callable[[Tensor, Tensor], object]
"""(x, y) → x′, as a tensor or an array."""

_LONGEST = 300
"""Characters of a reason."""


class External(Attack):
    """An attack that is the code of somebody else, called on a model; nothing it returns is believed.

    `norm` and `eps` are the rules its output is held to; `eps` is None where there is no ball. What it does inside
    counts as one step.
    """

    steps: ClassVar[int] = 1
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "margin"
    external: ClassVar[bool] = True
    no_target: ClassVar[Refusal] = (
        "an attack from elsewhere is called with the true labels",
        "Say what it aims at in its own settings.",
    )

    def __post_init__(self) -> None:
        check_external(self.eps, self.norm)

    @abstractmethod
    def bind(self, model: CountingModel) -> Bound:
        """The attack on a model, made afresh for every batch; what it raises is an error of the user's."""

    def check(self, objective: Objective) -> None:
        """Make it once, for two grey images.

        Raises:
            InputError: a package, an attack, a function or a setting that is not there.
        """
        classifier = objective.classifier
        x = torch.full((2, *classifier.input_shape), 0.5, device=classifier.device)
        y = torch.zeros(2, dtype=torch.long, device=classifier.device)
        model = CountingModel(objective, x, y, x.new_ones(2), self.norm)
        with isolated(model, 0):
            self.bind(model)

    def execute(
        self,
        objective: Objective,
        x: Images,
        y: Labels,
        keys: Keys,
        *,
        keep: Keep | None = None,
        batch: int = 128,
        target: Labels | None = None,
        eps: Scores | None = None,
        answers: Logits | None = None,
        weights: Tensor | None = None,
        trace: bool = False,
    ) -> Outcome:
        """Call it on every row, in batches, and judge what it returns."""
        self.check_target(target)
        refuse(self, eps=eps, answers=answers, weights=weights, trace=trace)
        return run_external(self, objective, x, y, keys, keep=self.check_keep(keep), batch=batch)


def run_external(
    attack: External,
    objective: Objective,
    x: Images,
    y: Labels,
    keys: Keys,
    *,
    keep: Keep = "first",
    batch: int = 128,
) -> Outcome:
    """Call an external attack on every row, in batches, and judge what it returns as the harness judges its own.

    What left the ball, the unit box or the finite numbers is discarded; what succeeds by little is confirmed in
    float64. A batch it fails on is halved; a row it fails on alone is flagged CRASHED, with the reason in the column
    `crash`. A row is flagged SILENT if the attack evaluated a point that succeeds within the rules and returned one
    that does not: it had won and lost it. Under `first` and `nearest` rows that succeed already are not attacked. The
    step of a success is 1: what happens inside is not known. Global random state is set from the batch's keys and
    restored, so results depend on which rows share a batch, and on nothing else.

    Args:
        attack: what to run.
        objective: what it is aimed at.
        x: clean images in [0, 1].
        y: true labels.
        keys: one key per row.
        keep: under `worst`, returned points are kept whether or not they succeed.
        batch: rows per call.
    """
    best = BestPoints(attack.norm, objective, x, y, None, keep)
    eps = torch.full((len(x),), torch.inf if attack.eps is None else attack.eps, dtype=x.dtype, device=x.device)
    met, reasons = torch.zeros_like(y, dtype=torch.bool), [""] * len(x)
    with objective.frozen():
        clean, waiting = best.open_rows(batch)
        best.loss_start = objective.loss(clean, y).float()
        for batch_ids in torch.split(waiting, batch) if len(waiting) else ():
            for ids, successful, reason in _by_halves(attack, best, eps, keys, batch_ids):
                met[ids] = successful
                for row in ids.tolist():
                    reasons[row] = reason
        outcome = verified(best, clean, eps)
    explained = (
        outcome.fooled | (outcome.step == 0) | ((outcome.troubles & int(Trouble.CRASHED | Trouble.UNCONFIRMED)) > 0)
    )
    outcome.troubles[met & ~explained] |= int(Trouble.SILENT)
    failed = {"crash": tuple(reason or None for reason in reasons)} if any(reasons) else {}
    return replace(outcome, extra=failed)


def _by_halves(
    attack: External, best: BestPoints, eps: Scores, keys: Keys, ids: Tensor
) -> Iterator[tuple[Tensor, Flags, str]]:
    """Rows, which were seen to succeed, and why the attack failed on them; where it did on many, each half is tried."""
    successful, reason = _attacked(attack, best, eps[ids], keys, ids)
    if not reason or len(ids) == 1:
        yield ids, successful, reason
        return
    best.troubles[ids] &= ~int(Trouble.CRASHED)
    half = len(ids) // 2
    best.objective.halves.append(half)
    for part in (ids[:half], ids[half:]):
        yield from _by_halves(attack, best, eps, keys, part)


def _attacked(attack: External, best: BestPoints, eps: Scores, keys: Keys, ids: Tensor) -> tuple[Flags, str]:
    """One batch: which rows were seen to succeed, and why the attack failed if it did."""
    x, y = best.clean[ids], best.y[ids]
    counting = CountingModel(best.objective, x, y, eps, attack.norm)
    seed = int(keys.rows(ids.tolist()).seeds("foreign").sum()) % 2**32
    returned, reason = _called(attack, counting, x, y, seed)
    best.forwards[ids] += counting.forwards
    best.backwards[ids] += counting.backwards
    if returned is None:
        best.troubles[ids] |= int(Trouble.CRASHED)
        return counting.fooled, reason
    allowed = inside_ball(returned, x, eps, attack.norm)
    best.troubles[ids[~allowed]] |= int(Trouble.OUTSIDE)
    if allowed.any():
        rows, points = ids[allowed], returned[allowed]
        best.offer(rows, points, best.forward(rows, points, len(ids)), torch.ones_like(rows), checked=True)
    return counting.fooled, reason


def _called(attack: External, counting: CountingModel, x: Images, y: Labels, seed: int) -> tuple[Images | None, str]:
    """What the attack returned, or None and the first line of the reason."""
    with isolated(counting, seed):
        call = attack.bind(counting)
        try:
            return _images(call(x.clone(), y.clone()), x), ""
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - foreign code may raise anything, and fewer rows may do
            said = str(error).strip().partition("\n")[0]
            return None, f"{type(error).__name__}: {said}"[:_LONGEST]


def _images(returned: object, like: Images) -> Images:
    found = torch.as_tensor(returned).detach()
    if found.shape != like.shape:
        raise ValueError(f"it returned the shape {tuple(found.shape)} for images of the shape {tuple(like.shape)}")
    return found.to(like)
