"""The softmax after a small step towards the answer."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import cross_entropy

from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Logits, Scores
from demur.signals import GRADIENT, Needs
from demur.signals.softmax_scores import missing


@dataclass(frozen=True, kw_only=True)
class ODIN:
    """One minus the largest softened probability, after a step that raises it: high when no class claims the image.

    x' = x + ε·sign ∇ₓ log p(answer), inside [0, 1]; 1 − max softmax(z(x')/T).

    Liang et al. (2018), arXiv:1706.02690.
    """

    unit: ClassVar[str] = "probability"
    needs: ClassVar[Needs] = Needs(passes=GRADIENT + 1)

    temperature: float = 1000.0
    eps: float = 0.0014

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise InputError(f"odin: `temperature` must be positive and finite; got {self.temperature}.")
        if not 0 <= self.eps <= 1:
            raise InputError(f"odin: `eps` is a fraction of the pixel range, from 0 to 1; got {self.eps}.")

    def __call__(self, evidence: Evidence) -> Scores:
        answer = evidence.logits.argmax(dim=1)

        def surprise(z: Logits) -> Scores:
            return cross_entropy(z / self.temperature, answer.to(z.device), reduction="none")

        downhill = -evidence.input_gradient(surprise).sign()
        z = evidence.logits_of((evidence.images + self.eps * downhill).clamp(0, 1)).double() / self.temperature
        return missing(z, z.argmax(dim=1))
