"""A signal, an attack, a corruption and a map that demur does not have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_eps
from demur.classifier import BoundClassifier
from demur.corruptions import check_severity, parameter
from demur.evidence import Evidence
from demur.randomness import Keys
from demur.shapes import Heat, Images, Labels, Scores


@dataclass(frozen=True, kw_only=True)
class Range:
    """Minus the spread of the logits: high when all classes are claimed alike."""

    unit: ClassVar[str] = "logits"

    scale: float = 1.0

    def __call__(self, output: Evidence) -> Scores:
        z = output.logits.double()
        return -self.scale * (z.amax(dim=1) - z.amin(dim=1))


@dataclass(frozen=True, kw_only=True)
class Brighten(Stepwise):
    """Every pixel brighter by eps."""

    norm: ClassVar[Norm] = "linf"
    needs: ClassVar[Needs] = "loss"
    steps: ClassVar[int] = 1
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "cross_entropy"
    sentence: ClassVar[str] = "brighter, {size}"

    eps: float

    def __post_init__(self) -> None:
        check_eps(self.eps)

    def start(self, state: AttackState, restart: int) -> AttackState:
        return state

    def advance(self, state: AttackState, output: Output) -> AttackState:
        return state.at((state.x + self.eps).clamp(0, 1))


@dataclass(frozen=True, kw_only=True)
class Veil:
    """A white veil that lets a share of the light through."""

    table: ClassVar[Mapping[int, tuple[float, ...]]] = {32: (0.9, 0.8, 0.7, 0.6, 0.5)}
    sentence: ClassVar[str] = "A veil, {value:g} of the light comes through"

    severity: int
    value: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_severity("veil", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        through = parameter(self, min(x.shape[2:]))
        return x * through + (1 - through)


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """The mean of the channels: high where the image is bright, whatever the model."""

    sentence: ClassVar[str] = "where the image is bright"
    gradients: ClassVar[int] = 0

    power: float = 1.0

    def __call__(self, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys) -> Heat:
        return images.mean(dim=1) ** self.power
