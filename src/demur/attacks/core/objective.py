"""What an attack is aimed at: a loss to climb and a margin of success, of logits or of all evidence of an image."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from demur.attacks.core.losses import LOSSES, TARGETED, Loss, margin
from demur.classifier import BoundClassifier
from demur.errors import InputError, ModelError
from demur.evidence import Evidence
from demur.foreign import is_of_the_model
from demur.shapes import Flags, Images, Labels, Logits, Scores

T = TypeVar("T")

_CLEAR = 1e-5
"""Share of the scale that a margin of success must reach; float32 sums in another order differ by about 1e-6."""

_NEAR = 1e-4
"""Share of the scale below which a success is confirmed in float64: a hundred times float32's own error."""

_FOLDED = 2e-5
"""Share of the largest logit by which a folded copy of the model may answer otherwise."""

_EXACT = 64
"""Rows per pass in float64."""

OfEvidence: TypeAlias = Callable[[Evidence, Labels], Scores]
"""(evidence, labels) → one value per row, differentiable."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says of some images: logits, and what a loss and a margin of one's own read off the evidence.

    Loss and margin are None where they are demur's own, which read logits alone. `more` (rows, 2) counts the forward
    and backward passes that functions of one's own made beside the one that all share.
    """

    logits: Logits
    loss: Scores | None = None
    margin: Scores | None = None
    more: Tensor | None = None

    def rows(self, index: Tensor) -> "Answer":
        """Some of the rows."""
        return Answer(self.logits[index], *(None if values is None else values[index] for values in self.values[1:]))

    def put(self, index: Tensor, other: "Answer") -> None:
        """Write the rows of another over some of these."""
        for values, new in zip(self.values, other.values, strict=True):
            if values is not None and new is not None:
                values[index] = new

    def clone(self) -> "Answer":
        """A copy to be written into."""
        return Answer(self.logits.clone(), *(None if values is None else values.clone() for values in self.values[1:]))

    @classmethod
    def join(cls, parts: Sequence["Answer"]) -> "Answer":
        """Those of several batches, one after the other."""
        columns = zip(*(part.values[1:] for part in parts), strict=True)
        others = ([each for each in column if each is not None] for column in columns)
        return cls(torch.cat([part.logits for part in parts]), *(torch.cat(each) if each else None for each in others))

    @property
    def values(self) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """All four."""
        return self.logits, self.loss, self.margin, self.more


class Objective:
    """A classifier as an attack sees it: a loss to climb, and a margin that is positive where the attack succeeds.

    By default success is any class but the label, or the target class where there is one: the margin is the lead of
    the largest such logit, and its scale the largest logit. A success counts if the margin is clear, more than the last
    bits of its scale: a point that wins by less may lose when it is evaluated in another batch.

    A function of one's own takes the evidence of images (`evidence.logits`, `.images`, `.features` …) and their labels
    and returns one value per row that autograd can follow; the thresholds of a guard are numbers inside it.

    Args:
        classifier: the model.
        loss: a name in `LOSSES`, or a function of one's own, higher = nearer to success; by default cross-entropy, or
            the margin of success where that is one's own.
        success: a function of one's own, positive exactly where the attack succeeds, such as confidently wrong; a
            target class then only steers the loss.
        scale: of one's own margin: what counts as large. A hundred-thousandth of it is rounding.
        features: whether functions of one's own read features, so that one pass gives these and the logits.
        layers: those whose activations they read, which the same pass gives.

    Where the model fails on a batch it is asked again about halves of it; `halves` has their sizes, none if all goes
    well.
    """

    def __init__(
        self,
        classifier: BoundClassifier,
        loss: str | OfEvidence | None = None,
        success: OfEvidence | None = None,
        *,
        scale: float = 1.0,
        features: bool = False,
        layers: Sequence[str] = (),
    ) -> None:
        if not 0 < scale < float("inf"):
            raise InputError(f"`scale` of a margin of success must be positive and finite; got {scale:g}.")
        chosen = (success or "cross_entropy") if loss is None else loss
        self._classifier = classifier
        self._name = chosen if isinstance(chosen, str) else None
        self._named: Loss | None = LOSSES[chosen] if isinstance(chosen, str) else None
        self._own: OfEvidence | None = None if isinstance(chosen, str) else chosen
        self._success, self._scale, self._features, self._clear = success, scale, features, _CLEAR
        self._layers = tuple(layers)
        self.halves: list[int] = []

    @property
    def classifier(self) -> BoundClassifier:
        """The model."""
        return self._classifier

    def climbing(self, loss: str) -> "Objective":
        """The same aim with another loss to climb."""
        other = Objective(self._classifier, loss, self._success, scale=self._scale)
        other._features, other._layers = self._features, self._layers
        other.halves = self.halves
        return other

    def searching(self, x: Images, y: Labels, answer: Answer) -> "Objective":
        """The same aim at a folded copy of the model, for the search alone; itself where the copy answers otherwise.

        By as much as the two may differ its successes are clearer than those of the model, which has the last word.
        Functions of one's own may read layers or weights that folding changes, so their values are compared too, for
        right answers and for wrong ones.

        Args:
            x: some images.
            y: their labels.
            answer: what the model itself says of them.
        """
        folded = self._classifier.folded
        if folded is self._classifier:
            return self
        other = copy(self)
        other._classifier, other._clear = folded, _CLEAR + 2 * _FOLDED  # noqa: SLF001 — a copy of its own
        found = other.answer(x, y)
        if (found.logits - answer.logits).abs().max() > _FOLDED * answer.logits.abs().max():
            return self
        if self._own is None and self._success is None:
            return other
        wrong = (answer.logits.argmax(dim=1) + 1) % answer.logits.shape[1]
        pairs = ((found, answer), (other.answer(x, wrong), self.answer(x, wrong)))
        return other if all(_alike(one, another) for one, another in pairs) else self

    def frozen(self) -> AbstractContextManager[None]:
        """The classifier's weights take no gradient inside."""
        return self._classifier.frozen()

    def logits(self, x: Images) -> Logits:
        """Logits without gradients."""
        try:
            with torch.no_grad():
                return self._classifier.logits(x)
        except BaseException as error:
            if not self._may_halve(error, x):
                raise
        return torch.cat(self._halves(self.logits, x))

    def exact(self, x: Images) -> Logits:
        """Logits of the same model in float64, without gradients."""
        with torch.no_grad():
            return torch.cat([self._classifier.double.logits(part.double()) for part in torch.split(x, _EXACT)])

    def answer(self, x: Images, y: Labels, logits: Logits | None = None) -> Answer:
        """What the model says of images, by one forward pass without gradients; by none where logits are at hand."""
        if self._own is None and self._success is None:
            return Answer(self.logits(x) if logits is None else logits)
        try:
            with torch.no_grad():
                return self._read(self._evidence(self._classifier, x, logits), y)
        except BaseException as error:
            if not self._may_halve(error, x):
                raise
        return Answer.join(self._halves(self.answer, x, y, logits))

    def climb(self, x: Images, y: Labels, target: Labels | None = None) -> tuple[Answer, Images]:
        """What the model says, and the gradient of the loss with respect to the images."""
        try:
            return self._climb(x, y, target)
        except BaseException as error:
            if not self._may_halve(error, x):
                raise
        return _joined(self._halves(self.climb, x, y, target))

    def _climb(self, x: Images, y: Labels, target: Labels | None) -> tuple[Answer, Images]:
        if self._own is None and self._success is None:
            logits, gradient = self._classifier.loss_gradient(x, lambda logits: self.loss(Answer(logits), y, target))
            return Answer(logits), gradient
        self._check_untargeted(target)
        with self.frozen(), torch.enable_grad():
            leaf = x.detach().requires_grad_()
            answer = self._read(self._evidence(self._classifier, leaf), y)
            loss = self.loss(answer, y, target)
            if not loss.requires_grad:
                raise ModelError(
                    "the loss does not depend on the images in a way that autograd can follow, so it has no gradient. "
                    "Look for detach(), argmax or comparisons in it."
                )
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        parts = (None if values is None else values.detach() for values in answer.values[1:])
        return Answer(answer.logits.detach(), *parts), gradient

    def jacobian(self, x: Images, y: Labels, classes: Tensor) -> tuple[Answer, Tensor]:
        """What the model says, and the gradient of each class's logit minus the label's.

        The gradient has the shape (rows, classes, channels, height, width).
        """
        right = y[:, None].expand_as(classes)
        try:
            logits, found = self._classifier.loss_gradients(x, lambda z: z.gather(1, classes) - z.gather(1, right))
            return self.answer(x, y, logits), found
        except BaseException as error:
            if not self._may_halve(error, x):
                raise
        return _joined(self._halves(self.jacobian, x, y, classes))

    def _may_halve(self, error: BaseException, x: Images) -> bool:
        if len(x) < 2 or not is_of_the_model(error):
            return False
        error.__traceback__ = None  # it holds every tensor of the calls it came through
        return True

    def _halves(self, work: Callable[..., T], x: Images, *others: Tensor | None) -> list[T]:
        """What work gives of the first and of the second half of the rows; called when the error's frames are gone."""
        half = len(x) // 2
        self.halves.append(half)
        parts = (slice(half), slice(half, None))
        return [work(x[part], *(None if each is None else each[part] for each in others)) for part in parts]

    def loss(self, answer: Answer, y: Labels, target: Labels | None = None) -> Scores:
        """The loss of each row; NaN where the target is −1, which is none."""
        if self._named is None or self._name is None:
            self._check_untargeted(target)
            assert answer.loss is not None
            return answer.loss
        if target is None:
            return self._named(answer.logits, y)
        return TARGETED[self._name](answer.logits, y, target.clamp(min=0)).masked_fill(target < 0, torch.nan)

    def lead(self, answer: Answer, y: Labels, goal: Labels | None = None) -> Scores:
        """The margin of success as a share of its scale; negative where the attack has not succeeded."""
        return self._margin(answer, y, goal) / self._scale_of(answer)

    def excess(self, answer: Answer, y: Labels, goal: Labels | None = None) -> Scores:
        """By how much the margin passes what counts as clear, in its own unit: it changes sign where success begins.

        Unlike the lead it is piecewise linear where the model is, so that a line through two points finds that place.
        """
        return (self.lead(answer, y, goal) - self._clear) * self._scale_of(answer)

    def fooled(self, answer: Answer, y: Labels, goal: Labels | None = None) -> Flags:
        """Rows that clearly succeed."""
        return self._judged(answer, self.lead(answer, y, goal) > self._clear)

    def near(self, answer: Answer, y: Labels, goal: Labels | None = None) -> Flags:
        """Rows that succeed by so little that float32 may be wrong."""
        return self.fooled(answer, y, goal) & (self.lead(answer, y, goal) < _NEAR)

    def confirmed(self, x: Images, y: Labels, goal: Labels | None = None) -> Flags:
        """Rows that succeed in float64 too."""
        if self._own is None and self._success is None:
            answer = Answer(self.exact(x))
        else:
            double, parts = self._classifier.double, zip(torch.split(x, _EXACT), torch.split(y, _EXACT), strict=True)
            with torch.no_grad():
                answer = Answer.join([self._read(self._evidence(double, images.double()), of) for images, of in parts])
        return self._judged(answer, self.lead(answer, y, goal) > 0)

    def _evidence(self, classifier: BoundClassifier, x: Images, logits: Logits | None = None) -> Evidence:
        at_hand = None if logits is None else logits.cpu()
        return Evidence(classifier, x, self._layers, logits=at_hand, features=self._features, check=False)

    def _read(self, evidence: Evidence, y: Labels) -> Answer:
        """Logits and the values of functions of one's own, where the images are; margins in the logits' precision.

        Functions of one's own are given evidence and labels in one place, the processor's memory.
        """
        logits, labels = evidence.logits.to(evidence.images.device), y.to(evidence.logits.device)
        loss = None if self._own is None else _per_row("loss", self._own(evidence, labels), y)
        if self._success is None:
            return Answer(logits, loss, None, self._more(evidence))
        own = loss if self._success is self._own else None
        margin = _per_row("success", self._success(evidence, labels), y) if own is None else own
        return Answer(logits, loss, margin.to(logits), self._more(evidence))

    @staticmethod
    def _more(evidence: Evidence) -> Tensor:
        """Passes of each row beside the first forward pass, where the images are."""
        spent = evidence.spent.T.to(evidence.images.device, torch.int32)
        return (spent - spent.new_tensor([1, 0])).clamp(min=0)

    def _margin(self, answer: Answer, y: Labels, goal: Labels | None) -> Scores:
        if self._success is not None:
            assert answer.margin is not None
            return answer.margin
        if goal is None:
            return margin(answer.logits, y)
        return (-margin(answer.logits, goal.clamp(min=0))).masked_fill(goal < 0, -torch.inf)

    def _scale_of(self, answer: Answer) -> Scores | float:
        if self._success is not None:
            return self._scale
        return answer.logits.abs().amax(dim=1).clamp(min=torch.finfo(answer.logits.dtype).tiny)

    def _judged(self, answer: Answer, ahead: Flags) -> Flags:
        return ahead if self._success is None else ahead & answer.logits.isfinite().all(dim=1)

    def _check_untargeted(self, target: Labels | None) -> None:
        if target is not None and self._own is not None:
            raise InputError("a loss of one's own takes evidence and labels, so it has no target. Name one of demur's.")


def _joined(parts: Sequence[tuple[Answer, Tensor]]) -> tuple[Answer, Tensor]:
    answers, gradients = zip(*parts, strict=True)
    return Answer.join(answers), torch.cat(gradients)


def _per_row(name: str, values: Tensor, y: Labels) -> Scores:
    if not isinstance(values, Tensor) or values.shape != y.shape or not values.is_floating_point():
        found = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise InputError(
            f"a {name} of one's own gives one number per row, a floating-point tensor ({len(y)},); it gave {found}. A "
            "margin is positive where the attack succeeds: not a flag, but by how much."
        )
    return values.to(y.device)


def _alike(one: Answer, other: Answer) -> bool:
    """Whether loss and margin are the same, but for as much as folding may change them."""
    pairs = zip(one.values[1:3], other.values[1:3], strict=True)
    return all(a is None or b is None or bool(((a - b).abs() <= _NEAR * (1 + b.abs())).all()) for a, b in pairs)
