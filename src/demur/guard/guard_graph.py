"""A guard as one module from images to decisions, in tensor code that can be traced."""

from collections.abc import Collection, Mapping
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from demur.errors import InputError
from demur.evidence import Evidence
from demur.foreign import reason
from demur.guard.guard import Guard
from demur.guard.traced_evidence import TracedEvidence, Tracer, refusal
from demur.policies import Tolerance
from demur.policies.decision import Bounded
from demur.policies.policy import Policy
from demur.policies.site_certificate import SiteThresholds
from demur.policies.tolerance import EXACT
from demur.shapes import Flags, Images, Labels, Logits, Scores
from demur.signals import Signal

INPUT, SITE = "images", "site"
FIRST = ("logits", "predicted", "confidence", "accepted", "near")
SCORE = "score."
"""What stands before the name of a signal in the name of its output."""

Limits: TypeAlias = Mapping[str, Tensor]
"""Signal → the highest uncertainty at which an answer is given: one number, or one for each site, float64."""


def limits_of(policy: Policy) -> Limits:
    """What a policy answers up to.

    Raises:
        InputError: it answers by something else than a bound on each of its signals.
    """
    if isinstance(policy, SiteThresholds):
        return {policy.signal: torch.tensor(list(policy.thresholds.values()), dtype=torch.float64)}
    if not isinstance(policy, Bounded):
        raise InputError(
            f"the policy of this guard, a {type(policy).__name__}, has no bound on each of its signals, so it cannot "
            "be a part of a graph. Use the guard as it is, by Guard.load."
        )
    return {name: torch.tensor(float(bound), dtype=torch.float64) for name, bound in policy.bounds.items()}


def sites_of(policy: Policy) -> tuple[str, ...]:
    """The sites that have a threshold, in the order in which a graph counts them; none for a policy without sites."""
    return tuple(policy.thresholds) if isinstance(policy, SiteThresholds) else ()


class GuardGraph(nn.Module):
    """Images in [0, 1] in; logits, answers, confidence, decisions and scores out.

    The signals and the bounds are those of the guard. Nothing depends on the number of rows.

    Args:
        guard: whose model is on the CPU.
        names: the signals that are scored, and go into the decision; by default all.
    """

    def __init__(self, guard: Guard, names: Collection[str] | None = None) -> None:
        super().__init__()
        kept = guard.signals if names is None else names
        self.tracer, self.temperature = Tracer(guard.classifier), guard.temperature
        self.signals = {name: signal for name, signal in guard.signals.items() if name in kept}
        self.limits = {name: limit for name, limit in limits_of(guard.policy).items() if name in kept}
        self.tolerances = {name: guard.tolerances.get(name, EXACT) for name in self.limits}
        self.training = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it puts out, in order."""
        return (*FIRST, *(f"{SCORE}{name}" for name in self.signals))

    def forward(self, images: Images, site: Labels | None = None) -> tuple[Tensor, ...]:
        """One tensor (rows, …) for each of the outputs.

        Args:
            images: (rows, channels, height, width) in [0, 1], float32.
            site: the position of each row's site, (rows,); any other number is an unknown site.
        """
        evidence = self.tracer.evidence(images)
        logits = evidence.logits
        finite = (logits.abs() < torch.inf).all(dim=1)
        scores = {name: _or_nan(finite, _score(name, signal, evidence)) for name, signal in self.signals.items()}
        accepted, near = finite, torch.zeros_like(finite)
        for name, limit in self.limits.items():
            score, bound = scores[name], limit if site is None else _at(limit, site)
            accepted = accepted & (score <= bound)
            near = near | ((bound - score).abs() <= width(self.tolerances[name], score))
        predicted = torch.where(finite, logits.argmax(dim=1), -1)
        return logits, predicted, _or_nan(finite, self._confidence(logits)), accepted, near, *scores.values()

    def _confidence(self, logits: Logits) -> Scores:
        return (logits.double() / self.temperature).softmax(dim=1).amax(dim=1)


def _score(name: str, signal: Signal, evidence: TracedEvidence) -> Scores:
    """The score of a signal; a graph cannot hold one that fails where no image is real yet."""
    try:
        return signal(cast(Evidence, evidence)).double()
    except Exception as error:
        raise refusal(name, reason(error)) from error


def _or_nan(finite: Flags, numbers: Scores) -> Scores:
    return torch.where(finite, numbers, torch.nan)


def _at(limits: Tensor, site: Labels) -> Scores:
    """The limit of each row's site, NaN where it has none."""
    present = (site >= 0) & (site < len(limits))
    return torch.where(present, limits[torch.where(present, site, 0)], torch.nan)


def width(tolerance: Tolerance, scores: Scores) -> Scores:
    """How far each score may move, as `Tolerance.of` has it."""
    widths = torch.tensor(tolerance.widths, dtype=torch.float64)
    piece = torch.zeros_like(scores, dtype=torch.int64)
    if tolerance.edges:
        edges = torch.tensor(tolerance.edges, dtype=torch.float64)
        piece = (scores[:, None] >= edges).sum(dim=1)
    size = scores.abs()
    return widths[piece] + tolerance.relative * torch.where(size < torch.inf, size, 0.0)


def example(guard: Guard, rows: int = 3) -> tuple[Tensor, ...]:
    """Inputs that a graph of this guard takes: images of even grey, and unknown sites where it goes by sites."""
    levels = torch.linspace(0.25, 0.75, rows)
    images = levels[:, None, None, None].expand(rows, *guard.classifier.input_shape).contiguous()
    return (images, torch.full((rows,), -1)) if sites_of(guard.policy) else (images,)
