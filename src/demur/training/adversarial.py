"""Recipes that learn from images an attack has changed, so that the model is harder to fool.

Perturbations are L∞, as fractions of the [0, 1] pixel range, and images stay in it.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from demur.attacks.core.driving import driven
from demur.attacks.core.hyperparameters import check_above_zero, check_eps, check_steps
from demur.attacks.core.losses import cross_entropy
from demur.attacks.pgd import PGD
from demur.shapes import Images, Labels, Logits, Scores
from demur.training.backbone import evaluating
from demur.training.recipe import Lesson, OneCycle

FAST_STEP = 1.25
"""Length of the one step of `fgsm_rs` in units of eps."""


@dataclass(frozen=True, kw_only=True)
class Adversarial(OneCycle):
    """A recipe that learns from perturbed images of at most `eps`.

    Attributes:
        eps: the size of perturbations.
    """

    averaging: float = 0.995
    eps: float = 8 / 255

    def check(self) -> None:
        """Refuse a size that cannot be."""
        check_eps(self.eps)

    @abstractmethod
    def perturbed(self, student: nn.Module, lesson: Lesson) -> Images:
        """The images to learn from."""

    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        """Cross-entropy on perturbed images, in nats."""
        return self.surprise(student(self.perturbed(student, lesson)), lesson)


@dataclass(frozen=True, kw_only=True)
class NFGSM(Adversarial):
    """One gradient step of length eps from uniform noise of up to `noise`·eps, none of it cut back to the ball.

    At the price of two passes forward and back. Stronger noise without clipping keeps the step from being learned by
    heart, which ends other one-step trainings in robustness against that step alone.

    de Jorge et al. (2022), arXiv:2202.01181.
    """

    noise: float = 2.0

    def check(self) -> None:
        """Refuse sizes that cannot be."""
        check_eps(self.eps)
        check_above_zero("noise", self.noise)

    def perturbed(self, student: nn.Module, lesson: Lesson) -> Images:
        """A noisy image and one step up its loss."""
        noisy, gradient, _ = ascent(student, lesson, self.noise * self.eps)
        return (noisy + self.eps * gradient.sign()).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class EntropyGuided(Adversarial):
    """N-FGSM whose eps follows what the model itself makes of an image: more where it is sure, less where it is not.

    With H the entropy of its answer to the noisy image and K classes, an image gets eps·(1 + guide·(1 − 2H/ln K)): from
    1 + guide times eps where it is sure to 1 − guide times where all classes are alike to it. The entropy is read off
    the forward pass that gives the gradient, so a step costs what one of N-FGSM does.

    de Jorge et al. (2022), arXiv:2202.01181, for the step; Cheng et al. (2020), arXiv:2002.06789, for budgets of each
    image's own.
    """

    noise: float = 2.0
    guide: float = 0.5

    def check(self) -> None:
        """Refuse sizes that cannot be."""
        check_eps(self.eps)
        check_above_zero("noise", self.noise)
        check_above_zero("guide", self.guide)

    def perturbed(self, student: nn.Module, lesson: Lesson) -> Images:
        """A noisy image and one step up its loss, as long as the entropy there allows."""
        noisy, gradient, logits = ascent(student, lesson, self.noise * self.eps)
        return (noisy + self.budgets(logits).view(-1, 1, 1, 1) * gradient.sign()).clamp(0, 1)

    def budgets(self, logits: Logits) -> Scores:
        """The eps (rows,) of each image."""
        p = logits.log_softmax(dim=1)
        ignorance = -(p.exp() * p).sum(dim=1) / math.log(logits.shape[1])
        return self.eps * (1 + self.guide * (1 - 2 * ignorance)).clamp(min=0)


@dataclass(frozen=True, kw_only=True)
class FastFGSM(Adversarial):
    """One gradient step of 1.25·eps from a random start in the ball, cut back to it.

    Cheap, and known to end in robustness against its own step alone where eps is large: the curves tell.

    Wong et al. (2020), arXiv:2001.03994.
    """

    def perturbed(self, student: nn.Module, lesson: Lesson) -> Images:
        """Where the step ends."""
        attack = PGD(eps=self.eps, steps=1, step=FAST_STEP * self.eps)
        return driven(attack, student, lesson.images, lesson.labels, lesson.seeds, cross_entropy)


@dataclass(frozen=True, kw_only=True)
class PGDTraining(Adversarial):
    """Several gradient steps from a random start in the ball: the classic, at the price of `steps` + 1 passes.

    Madry et al. (2018), arXiv:1706.06083.
    """

    steps: int = 7
    step: float | None = None

    def check(self) -> None:
        """Refuse sizes that cannot be."""
        check_eps(self.eps)
        check_steps(self.steps)
        check_above_zero("step", self.step)

    def perturbed(self, student: nn.Module, lesson: Lesson) -> Images:
        """Where the steps end."""
        attack = PGD(eps=self.eps, steps=self.steps, step=self.step)
        return driven(attack, student, lesson.images, lesson.labels, lesson.seeds, cross_entropy)


@dataclass(frozen=True, kw_only=True)
class TRADES(Adversarial):
    """Cross-entropy on the images as they are, plus `beta` times how far answers to perturbed ones diverge from these.

    The divergence of Kullback and Leibler is what is climbed, in `steps` steps with the model in evaluation mode, and
    what is learned away.

    Zhang et al. (2019), arXiv:1901.08573.
    """

    beta: float = 6.0
    steps: int = 7
    step: float | None = None

    def check(self) -> None:
        """Refuse sizes that cannot be."""
        check_eps(self.eps)
        check_steps(self.steps)
        check_above_zero("step", self.step)
        check_above_zero("beta", self.beta)

    def perturbed(self, student: nn.Module, lesson: Lesson) -> Images:
        """Where the answer diverges from that to the image itself."""
        attack = PGD(eps=self.eps, steps=self.steps, step=self.step)
        with evaluating(student):
            with torch.no_grad():
                clean = student(lesson.images)

            def divergence(logits: Logits, _labels: Labels) -> Scores:
                return _divergence(clean, logits)

            return driven(attack, student, lesson.images, lesson.labels, lesson.seeds, divergence)

    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        """What it is called after: accuracy against robustness, in nats."""
        shifted, clean = self.perturbed(student, lesson), student(lesson.images)
        return self.surprise(clean, lesson) + self.beta * _divergence(clean, student(shifted)).mean()


def ascent(student: nn.Module, lesson: Lesson, most: float) -> tuple[Images, Images, Logits]:
    """Images with uniform noise of up to `most`, the gradient of their cross-entropy, and the answers to them."""
    dice = torch.rand(lesson.images.shape, generator=lesson.dice).to(lesson.images.device)
    noisy = (lesson.images + most * (2 * dice - 1)).clamp(0, 1).requires_grad_()
    logits = student(noisy)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, lesson.labels, reduction="sum"), noisy)
    return noisy.detach(), gradient, logits.detach()


def _divergence(clean: Logits, other: Logits) -> Scores:
    """KL(clean ‖ other) of each row, in nats."""
    p = clean.log_softmax(dim=1)
    return (p.exp() * (p - other.log_softmax(dim=1))).sum(dim=1)
