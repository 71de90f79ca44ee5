"""How evenly a layer's activations fill their bins."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from demur.errors import InputError
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.metrics.mutual_information import mutual_information
from demur.shapes import Features, Labels, Scores
from demur.signals import Needs
from demur.signals.activation_histograms import (
    counts_in,
    entropy_of,
    quantile_edges,
    soft_counts_in,
    thinned,
    uniform_edges,
)
from demur.signals.error_detector import Detector, FittedDetector
from demur.signals.regression import units_of

SIDES = ("two", "upper", "lower")
FUSIONS = ("mean", "learned")
BINNINGS: Mapping[str, Callable[[Sequence[Tensor], int], Tensor]] = MappingProxyType(
    {"quantile": quantile_edges, "uniform": uniform_edges}
)


@dataclass(frozen=True, kw_only=True)
class ActivationEntropy:
    """Entropy of the histogram of a layer's activations: high when it lies far from what clean images show.

    H = −Σ p_b ln p_b over bins of the rectified activations of one image. By default zero has a bin of its own and the
    others hold equally many reference values; with the `binning` 'uniform' all are of one width up to the largest
    reference value; `edges` fixes them instead, as in `numpy.histogram`. The score is |H − μ|/σ with μ and σ from the
    reference, or one-sided, (H − μ)/σ for `upper` and (μ − H)/σ for `lower`. Over several layers it is the mean, or
    `learned`: logistic regression of errors on (H − μ)/σ and its size, cross-fitted. The parts are H of each layer, in
    nats, or `in_bits`.

    Without `layers` the penultimate features are read.

    Nazeri & Hafez (2025), arXiv:2508.21715.
    """

    made_of: ClassVar[str] = "layers"

    layers: tuple[str, ...] = ()
    bins: int = 30
    edges: tuple[float, ...] = ()
    side: str = "two"
    fusion: str = "mean"
    binning: str = "quantile"
    in_bits: bool = False

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise InputError(f"activation_entropy: `bins` must be at least 2; got {self.bins}.")
        if any(high <= low for low, high in pairwise(self.edges)) or len(self.edges) in (1, 2):
            raise InputError(f"activation_entropy: `edges` must rise, three at least; got {list(self.edges)}.")
        for field, choices in (("side", SIDES), ("fusion", FUSIONS), ("binning", tuple(BINNINGS))):
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
            in_bits=self.in_bits,
        )
        shared = torch.from_numpy(mutual_information(entropies.numpy()))
        if self.fusion == "mean":
            return replace(plain, shared=shared)
        wrong = torch.cat([evidence.logits.argmax(dim=1) for evidence in reference]) != labels
        units, grouped = units_of(reference)
        detector = Detector().fit(plain.columns(entropies), wrong, units if grouped else None)
        alone = [auroc(column.numpy(), wrong.numpy()) for column in plain.deviations(entropies).T]
        return replace(plain, shared=shared, detector=detector, alone=torch.tensor(alone, dtype=torch.float64))

    def _edges(self, reference: Iterable[Evidence]) -> tuple[Tensor, ...]:
        if self.edges:
            return (torch.tensor(self.edges, dtype=torch.float64),) * max(1, len(self.layers))
        found = [_thin(evidence, self.layers) for evidence in reference]
        return tuple(BINNINGS[self.binning](layer, self.bins) for layer in zip(*found, strict=True))


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedActivationEntropy:
    """Edges of the bins, and mean and standard deviation of the entropy, for each layer.

    `shared` is the mutual information between the entropies of every two layers of the reference, in nats: what two of
    them have in common, a fusion cannot gain from. `alone` is the AUROC of each layer for errors of the reference, by
    the score without fusion.
    """

    made_of: ClassVar[str] = ActivationEntropy.made_of

    layers: tuple[str, ...]
    edges: tuple[Tensor, ...]
    middle: Tensor
    spread: Tensor
    side: str
    in_bits: bool = False
    detector: FittedDetector | None = None
    shared: Tensor | None = None
    alone: Tensor | None = None

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
            **({} if self.shared is None else {"mutual_information": self.shared.tolist()}),
            **({} if self.detector is None else self._fusion_facts(self.detector)),
        }

    def _fusion_facts(self, detector: FittedDetector) -> Mapping[str, Any]:
        """Whether the fusion ranks rows it was not trained on better than the best layer does."""
        fused, alone = detector.facts, [] if self.alone is None else self.alone.tolist()
        return {**fused, "layer_auroc": alone, "beats_its_layers": fused["held_out_auroc"] > max(alone, default=0.0)}

    def __call__(self, evidence: Evidence) -> Scores:
        return self.of_parts(self.parts(evidence), evidence)

    def of_parts(self, parts: Mapping[str, Scores], evidence: Evidence) -> Scores:  # noqa: ARG002 — others read the rows
        """How far these entropies lie from those of the reference, over all layers."""
        entropies = torch.stack(list(parts.values()), dim=1) * self._nats
        if self.detector is None:
            return self.deviations(entropies).mean(dim=1)
        return self.detector(self.columns(entropies))

    def surrogate(self, evidence: Evidence) -> Scores:
        """The score, with the gradient that it would have if bins were parted softly."""
        pairs = zip(_activations(evidence, self.layers), self.edges, strict=True)
        soft = torch.stack([entropy_of(soft_counts_in(activation, edges)) for activation, edges in pairs], dim=1)
        entropies = self.entropies(evidence).detach() + (soft - soft.detach())
        if self.detector is None:
            return self.deviations(entropies).mean(dim=1)
        return self.detector.surrogate(self.columns(entropies))

    def parts(self, evidence: Evidence) -> Mapping[str, Scores]:
        """The entropy of each layer, in nats or bits."""
        return dict(zip(self.layers or ("features",), self.entropies(evidence).T / self._nats, strict=True))

    @property
    def _nats(self) -> float:
        """How many nats the unit of the parts has."""
        return math.log(2) if self.in_bits else 1.0

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
        away = self._away(entropies)
        return {"two": away.abs(), "upper": away, "lower": -away}[self.side]

    def columns(self, entropies: Features) -> Features:
        """What a learned fusion reads: the sign matters as well as the size, unless one side is all that counts."""
        away = self._away(entropies)
        return torch.cat([away, away.abs()], dim=1) if self.side == "two" else away

    def _away(self, entropies: Features) -> Features:
        return (entropies - self.middle) / self.spread


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
