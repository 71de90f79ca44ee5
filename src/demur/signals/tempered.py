"""Any signal of logits, at a temperature."""

import math
from dataclasses import dataclass, field

from demur.errors import InputError
from demur.evidence import Evidence
from demur.registry import name_of, named
from demur.shapes import Scores
from demur.signals import AnySignal, Signal, only_logits
from demur.signals.msp import MSP


@dataclass(frozen=True, kw_only=True)
class Tempered:
    """A signal of logits that are divided by a temperature first: high when that signal is.

    signal(z / T). A temperature above 1 softens the softmax.

    Guo et al. (2017), arXiv:1706.04599.
    """

    signal: Signal = field(default=MSP(), metadata=named("signal"))
    temperature: float = 1.0

    def __post_init__(self) -> None:
        refuse_others("tempered", self.signal)
        if not 0 < self.temperature < math.inf:
            raise InputError(f"tempered: `temperature` must be positive and finite; got {self.temperature}.")

    @property
    def unit(self) -> str:
        return self.signal.unit

    def __call__(self, seen: Evidence) -> Scores:
        return self.signal(seen.answering(seen.logits.double() / self.temperature))


def refuse_others(name: str, signal: AnySignal) -> None:
    """Refuse a signal to which a temperature means nothing."""
    if not only_logits(signal):
        raise InputError(
            f"{name}: `signal` must read logits alone and need no fitting; got {name_of('signal', signal)}. A "
            "temperature changes logits, so take one of these, such as msp or entropy."
        )
