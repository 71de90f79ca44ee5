"""How evenly a layer's activations fill their bins."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Features, Labels, Scores
from demur.signals import Needs
from demur.signals.error_detector import Detector, FittedDetector
from demur.signals.regression import units_of

_LEAST, _MOST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
_VALUES = 1024
"""Values of one row that the edges of bins are learned from."""


def counts_in(values: Tensor, edges: Tensor) -> Tensor:
    """How many values (rows, values) of each row fall into each bin, (rows, bins), float64.

    Bins hold their lower edge, the last its upper one too, and what lies outside is not counted: as `numpy.histogram`.
    """
    bins, values = len(edges) - 1, values.double()  # else the last edge would be rounded to the type of the values
    place = torch.bucketize(values, edges, right=True) - 1
    place = torch.where(values == edges[-1], bins - 1, place)
    outside = (place < 0) | (place >= bins)
    counts = torch.zeros(values.shape[0], bins + 1, dtype=torch.float64)
    counts.scatter_add_(1, torch.where(outside, bins, place), torch.ones(values.shape, dtype=torch.float64))
    return counts[:, :bins]


def entropy_of(counts: Tensor) -> Tensor:
    """−Σ p ln p over the last axis, in nats; 0 where nothing was counted."""
    p = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.special.entr(p).sum(dim=-1)


def quantile_edges(batches: Sequence[Tensor], bins: int) -> Tensor:
    """Edges of a bin for values at 0 and of others that hold equally many of the positive values, however large.

    Equal quantiles become one edge, so there may be fewer bins.
    """
    values = torch.cat([batch.flatten() for batch in batches]).double()
    positive = values[values > _LEAST]
    if not len(positive):
        return torch.tensor([0.0, _LEAST, _MOST]).double()
    inner = torch.quantile(positive[:: 1 + len(positive) // 2**24], torch.arange(1, bins - 1).double() / (bins - 1))
    return torch.cat([torch.tensor([0.0, _LEAST]).double(), torch.unique(inner), torch.tensor([_MOST]).double()])


def thinned(values: Tensor) -> Tensor:
    """At most 1,024 values of each row (rows, values), evenly apart: enough to place the edges of bins."""
    return values[:, :: 1 + (values.shape[1] - 1) // _VALUES].clone()


SIDES = ("two", "upper", "lower")
FUSIONS = ("mean", "learned")


@dataclass(frozen=True, kw_only=True)
class ActivationEntropy:
    """Entropy of the histogram of a layer's activations: high when it lies far from what clean images show.

    H = −Σ p_b ln p_b over bins of the rectified activations of one image. By default zero has a bin of its own and the
    others hold equally many reference values; `edges` fixes them instead, as in `numpy.histogram`. The score is
    |H − μ|/σ with μ and σ from the reference, or one-sided, (H − μ)/σ for `upper` and (μ − H)/σ for `lower`. Over
    several layers it is the mean, or `learned`: logistic regression of errors on these scores, cross-fitted.

    Without `layers` the penultimate features are read.

    Nazeri & Hafez (2025), arXiv:2508.21715.
    """

    made_of: ClassVar[str] = "layers"

    layers: tuple[str, ...] = ()
    bins: int = 30
    edges: tuple[float, ...] = ()
    side: str = "two"
    fusion: str = "mean"

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise InputError(f"activation_entropy: `bins` must be at least 2; got {self.bins}.")
        if any(high <= low for low, high in pairwise(self.edges)) or len(self.edges) in (1, 2):
            raise InputError(f"activation_entropy: `edges` must rise, three at least; got {list(self.edges)}.")
        for field, choices in (("side", SIDES), ("fusion", FUSIONS)):
            if getattr(self, field) not in choices:
                raise InputError(
                    f"activation_entropy: `{field}` is one of {', '.join(choices)}; got {getattr(self, field)!r}."
                )

    @property
    def unit(self) -> str:
        """The scale of the fused score."""
        return _unit(learned=self.fusion == "learned")

    @property
    def needs(self) -> Needs:
        """The layers, or the features; no pass of its own."""
        return Needs(layers=self.layers, features=not self.layers)

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "FittedActivationEntropy":
        edges = self._edges(reference)
        entropies = torch.cat([_entropies(evidence, self.layers, edges) for evidence in reference])
        middle, spread = entropies.mean(dim=0), entropies.std(dim=0, correction=0)
        plain = FittedActivationEntropy(
            layers=self.layers,
            edges=edges,
            middle=middle,
            spread=torch.where(spread > 0, spread, 1.0),
            side=self.side,
        )
        if self.fusion == "mean":
            return plain
        answers = torch.cat([evidence.logits.argmax(dim=1) for evidence in reference])
        units, grouped = units_of(reference)
        detector = Detector().fit(plain.deviations(entropies), answers != labels, units if grouped else None)
        return FittedActivationEntropy(**{**vars(plain), "detector": detector})

    def _edges(self, reference: Iterable[Evidence]) -> tuple[Tensor, ...]:
        if self.edges:
            return (torch.tensor(self.edges, dtype=torch.float64),) * max(1, len(self.layers))
        found = [_thin(evidence, self.layers) for evidence in reference]
        return tuple(quantile_edges(layer, self.bins) for layer in zip(*found, strict=True))


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedActivationEntropy:
    """Edges of the bins, and mean and standard deviation of the entropy, for each layer."""

    made_of: ClassVar[str] = ActivationEntropy.made_of

    layers: tuple[str, ...]
    edges: tuple[Tensor, ...]
    middle: Tensor
    spread: Tensor
    side: str
    detector: FittedDetector | None = None

    @property
    def unit(self) -> str:
        """The scale of the fused score."""
        return _unit(learned=self.detector is not None)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was fitted, layer by layer."""
        return {
            "layers": list(self.layers),
            "edges": [edges.tolist() for edges in self.edges],
            "mean": self.middle.tolist(),
            "standard_deviation": self.spread.tolist(),
            **({} if self.detector is None else self.detector.facts),
        }

    def __call__(self, evidence: Evidence) -> Scores:
        return self.of_parts(self.parts(evidence), evidence)

    def of_parts(self, parts: Mapping[str, Scores], evidence: Evidence) -> Scores:  # noqa: ARG002 — others read the rows
        """How far these entropies lie from those of the reference, over all layers."""
        found = self.deviations(torch.stack(list(parts.values()), dim=1))
        return found.mean(dim=1) if self.detector is None else self.detector(found)

    def parts(self, evidence: Evidence) -> Mapping[str, Scores]:
        """The entropy of each layer, in nats."""
        return dict(zip(self.layers or ("features",), self.entropies(evidence).T, strict=True))

    def entropies(self, evidence: Evidence) -> Features:
        """The entropy of each layer, (rows, layers), in nats."""
        return _entropies(evidence, self.layers, self.edges)

    def of_batch(self, evidence: Evidence) -> Tensor:
        """The entropy of all rows thrown into one histogram, (layers,), in nats: what a monitor of batches sees."""
        return torch.stack(
            [
                entropy_of(counts_in(activation, edges).sum(dim=0))
                for activation, edges in zip(_activations(evidence, self.layers), self.edges, strict=True)
            ]
        )

    def deviations(self, entropies: Features) -> Features:
        """How far entropies lie on the side that counts, in standard deviations."""
        away = (entropies - self.middle) / self.spread
        return {"two": away.abs(), "upper": away, "lower": -away}[self.side]


def _unit(*, learned: bool) -> str:
    return "probability of an error" if learned else "standard deviations"


def _activations(evidence: Evidence, layers: Sequence[str]) -> list[Tensor]:
    """Rectified activations, (rows, values) of each layer."""
    found = [evidence.activations(layer) for layer in layers] or [evidence.features]
    return [activation.flatten(start_dim=1).clamp(min=0).cpu() for activation in found]


def _thin(evidence: Evidence, layers: Sequence[str]) -> list[Tensor]:
    return [thinned(activation) for activation in _activations(evidence, layers)]


def _entropies(evidence: Evidence, layers: Sequence[str], edges: Sequence[Tensor]) -> Features:
    pairs = zip(_activations(evidence, layers), edges, strict=True)
    return torch.stack([entropy_of(counts_in(activation, own)) for activation, own in pairs], dim=1)
