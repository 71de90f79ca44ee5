"""Any signal of logits at a temperature: a given one, or that at which the logits are calibrated."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from demur.errors import InputError
from demur.evidence import Evidence
from demur.registry import name_of, registered_as
from demur.shapes import Labels, Logits, Scores
from demur.signals import AnySignal, Signal, only_logits
from demur.signals.softmax_scores import MSP


@dataclass(frozen=True, kw_only=True)
class Tempered:
    """A signal of logits that are divided by a temperature first: high when that signal is.

    signal(z / T). A temperature above 1 softens the softmax.

    Guo et al. (2017), arXiv:1706.04599.
    """

    signal: Signal = field(default=MSP(), metadata=registered_as("signal"))
    temperature: float = 1.0

    def __post_init__(self) -> None:
        refuse_others("tempered", self.signal)
        if not 0 < self.temperature < math.inf:
            raise InputError(f"tempered: `temperature` must be positive and finite; got {self.temperature}.")

    @property
    def unit(self) -> str:
        return self.signal.unit

    def __call__(self, evidence: Evidence) -> Scores:
        return self.signal(evidence.answering(evidence.logits.double() / self.temperature))


def refuse_others(name: str, signal: AnySignal) -> None:
    """Refuse a signal to which a temperature means nothing."""
    if not only_logits(signal):
        raise InputError(
            f"{name}: `signal` must read logits alone and need no fitting; got {name_of('signal', signal)}. A "
            "temperature changes logits, so take one of these, such as msp or entropy."
        )


_LEAST, _MOST = math.log(1e-3), math.log(1e5)
"""Bounds of log T: logits up to ±1e4 can be softened, and a model without errors is not sharpened without end."""


@dataclass(frozen=True, kw_only=True)
class TemperatureScaled:
    """A signal of logits divided by the temperature at which they are calibrated: high when that signal is.

    signal(z / T), with T the one that makes the labels of the reference images most likely under the softmax of z / T;
    1 where all of them are answered rightly.

    Guo et al. (2017), arXiv:1706.04599.
    """

    signal: Signal = field(default=MSP(), metadata=registered_as("signal"))

    def __post_init__(self) -> None:
        refuse_others("temperature_scaled", self.signal)

    @property
    def unit(self) -> str:
        return self.signal.unit

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "AtTemperature":
        logits = torch.cat([evidence.logits.detach() for evidence in reference])
        return AtTemperature(Tempered(signal=self.signal, temperature=calibrated(logits, labels)))


@dataclass(frozen=True)
class AtTemperature:
    """A tempered signal whose temperature was fitted."""

    tempered: Tempered

    @property
    def unit(self) -> str:
        return self.tempered.unit

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"temperature": self.tempered.temperature}

    def __call__(self, evidence: Evidence) -> Scores:
        return self.tempered(evidence)


def calibrated(logits: Logits, labels: Labels) -> float:
    """The temperature of the smallest negative log-likelihood; that has one minimum in log T.

    Where every answer is right it has none, and cold logits lose their order to rounding: the temperature stays 1.

    Raises:
        InputError: there is nothing to fit to.
    """
    from scipy.optimize import minimize_scalar

    if not len(labels):
        raise InputError("a temperature is fitted to labelled images; got none. Give it some.")
    z = logits.double()
    if bool((z.argmax(dim=1) == labels).all()):
        return 1.0

    def nll(log_t: float) -> float:
        loss: Tensor = torch.nn.functional.cross_entropy(z / math.exp(log_t), labels)
        return float(loss)

    found = minimize_scalar(nll, bounds=(_LEAST, _MOST), method="bounded", options={"xatol": 1e-8})
    return math.exp(found.x)
