"""What is proven of a classifier's answers to all images within eps of some: the class, and what a guard lets through.

Gowal et al. (2018), arXiv:1810.12715, for the bounds; Däubener et al. (2024), arXiv:2410.20432, for what a threshold of
confidence adds to them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from demur.classifier import BoundClassifier
from demur.errors import DemurError
from demur.proofs.interval_ends import ROUNDING, Ends, NoBoundError, pair_leads
from demur.proofs.interval_rules import divide, subtract
from demur.proofs.intervals import Interval
from demur.shapes import Flags, Images, Labels, Scores

_WIDER = 2e-6
"""In pixel fractions: twice by how much more than eps an attack's point may be away and still count as inside."""

_SUREST = 1 - 1e-6
"""The largest confidence that a proof tells from certainty; a guard that wants more lets this much through."""

_MANY = 64
"""Classes above which the sharper of two bounds on an accepted answer, which compares each pair, is left out."""


HALVINGS = 12
"""How often the range in which the size up to which an answer is proven is halved."""


Confidence: TypeAlias = Literal["msp", "margin"]


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """When a guard answers: its confidence, of a kind, is at least `least`.

    `msp` is the largest softmax probability, `margin` the largest less the second. What a guard calls a threshold of
    uncertainty t is a `least` of 1 − t − tolerance.
    """

    signal: Confidence
    least: float


@dataclass(frozen=True, eq=False)
class Bounds:
    """What is known of all images within eps of some images.

    Attributes:
        logits: between what and what they lie.
        labels: the true classes.
    """

    logits: Ends
    labels: Labels

    @cached_property
    def label_leads(self) -> Tensor:
        """At least how far the label's logit lies above each other class's (rows, classes); infinite at the label."""
        found = pair_leads(self.logits, self.labels[:, None]).squeeze(1)
        return found.scatter(1, self.labels[:, None], math.inf)

    @property
    def worst_logits(self) -> Tensor:
        """At most how far each logit lies above the label's (rows, classes); 0 at the label. For training."""
        return (-self.label_leads).scatter(1, self.labels[:, None], 0.0)

    @property
    def right(self) -> Flags:
        """Rows that are answered rightly whatever the image."""
        return (self.label_leads > 0).all(dim=1)

    def right_or_declined(self, acceptance: Acceptance) -> Flags:
        """Rows for which no wrong answer can be accepted."""
        return self.wrong_confidence(acceptance.signal) < min(_SUREST, max(0.0, acceptance.least))

    def wrong_confidence(self, signal: Confidence) -> Scores:
        """At most the confidence (rows,) with which a wrong answer is given; −1 where none can be.

        A wrong class k leads the label by at most some g ≥ 0. With p₁ ≥ t some p₂ ≤ 1 − t, so a lead of g allows p₁ of
        at most σ(g), and p₁ − p₂, largest where those two share all there is, of at most tanh(g / 2). p₁ is also at
        most 1 / (1 + Σ exp(lower bound of z_j − z_k)).
        """
        lead = -self.label_leads.double()
        most = lead.sigmoid() if signal == "msp" else (lead / 2).tanh()
        if signal == "msp" and len(lead.T) <= _MANY:
            most = torch.minimum(most, self.largest_shares.double())
        return most.masked_fill(lead < 0, -1).nan_to_num(nan=1).amax(dim=1)

    @cached_property
    def largest_shares(self) -> Tensor:
        """At most the softmax probability of each class (rows, classes)."""
        every = torch.arange(len(self.label_leads.T), device=self.labels.device)
        ahead = torch.cat([pair_leads(self.logits, one.expand(len(self.labels), 1)) for one in every], dim=1)
        others = ahead.double().exp().masked_fill(torch.eye(len(every), dtype=torch.bool, device=every.device), 0)
        return 1 / (1 + others.sum(dim=1))


def bounds(classifier: BoundClassifier, x: Images, y: Labels, eps: Scores | float) -> Bounds:
    """What is proven of all images within eps of some, in L∞ and in [0, 1].

    Args:
        classifier: one of layers that bounds are known for; its outputs are logits.
        x: images.
        y: true labels.
        eps: a radius for all or one (rows,) for each.

    Raises:
        NoBoundError: it has an operation that no bound is known for, which is named.
    """
    fault = _fault(classifier)
    if fault:
        raise NoBoundError(fault)
    radius = torch.as_tensor(eps, dtype=torch.float64, device=x.device)
    radius = radius.view(-1, 1, 1, 1) if radius.ndim else radius
    with torch.inference_mode(mode=False), torch.no_grad():
        box = normalised(classifier, Interval.around(x, radius + _WIDER))
        return Bounds(_answer(classifier.as_module(), box), y)


def network_bounds(network: nn.Module, x: Images, y: Labels, eps: float, *, unit: float = ROUNDING) -> Bounds:
    """The same of a network as it is, in evaluation mode, that takes images in [0, 1] and answers with logits.

    With a `unit` of 0 there are no margins for rounding, and gradients run through the bounds: these are for training.

    Raises:
        NoBoundError: it has an operation that no bound is known for, which is named.
    """
    return Bounds(_answer(network, Interval.around(x, eps + (_WIDER if unit else 0.0), unit)), y)


def _fault(classifier: BoundClassifier) -> str:
    """Why nothing can be proven of a classifier before a layer is looked at; empty if something may be."""
    if classifier.contract.output != "logits":
        return f"outputs that are {classifier.contract.output}"
    if classifier.dtype != torch.float32:
        return f"weights in {classifier.dtype}"
    if classifier.device.type != "cpu" and _is_coarse():
        return "a GPU that may round to TF32 (torch.backends.cudnn.allow_tf32 = False forbids it)"
    return "" if classifier.capabilities.deterministic else "answers that differ from call to call"


def _is_coarse() -> bool:
    return torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32


def normalised(classifier: BoundClassifier, box: Ends) -> Ends:
    """What the module is given for all images of a box."""
    contract, device, shape = classifier.contract, box.low.device, (1, -1, 1, 1)
    if contract.mean is not None:
        box = subtract(box, torch.tensor(contract.mean, device=device).view(shape))
    if contract.std is not None:
        box = divide(box, torch.tensor(contract.std, device=device).view(shape))
    return box


def _answer(module: Callable[[Any], Any], box: Ends) -> Ends:
    try:
        found = module(box)
    except DemurError:
        raise
    except Exception as error:
        raise NoBoundError(f"what raises {type(error).__name__} on intervals ({error})") from error
    if not isinstance(found, Ends) or found.low.ndim != 2 or len(found.low) != len(box.low):
        raise NoBoundError("an answer that is not one tensor of logits, a row for each image")
    return found


def proven_radii(
    classifier: BoundClassifier, x: Images, y: Labels, largest: float, *, halvings: int = HALVINGS
) -> Scores:
    """The largest eps (rows,) at which the label is proven to be the answer, found by halving up to `largest`.

    At least what is returned is proven, and at most `largest`/2^halvings more would be; 0 where nothing is.
    """
    high = torch.full((len(x),), largest, dtype=torch.float64, device=x.device)
    low = torch.zeros_like(high)
    at_most = bounds(classifier, x, y, high).right
    low = torch.where(at_most, high, low)
    for _ in range(halvings):
        middle = torch.where(at_most, high, (low + high) / 2)
        right = bounds(classifier, x, y, middle).right
        low, high = torch.where(right, middle, low), torch.where(right, high, middle)
    return low
