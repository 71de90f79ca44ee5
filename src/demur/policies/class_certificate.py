"""A guarantee about each class by itself: what it says, and the policy that keeps it."""

from dataclasses import dataclass

from demur.metrics.estimate import Unit
from demur.policies.coverage_bound import CoverageBound
from demur.policies.look import Look
from demur.policies.policy import OneThreshold
from demur.policies.tolerance import Tolerance


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """What a threshold does to the certify units of one class, by label.

    Of its `n` units `answered` were answered and `wrong` of these were wrong; `bound` is the largest share of all its
    units, answered and wrong, that leaves plausible at the level of the test, and `risk` what it was to keep to.
    """

    name: str
    risk: float
    n: int
    answered: int
    wrong: int
    bound: float


@dataclass(frozen=True, kw_only=True)
class ClassCertificate:
    """With probability ≥ 1 − `delta`, at most the stated share of the images of *each* class is answered wrong.

    About each class by itself, so it does not change with how common the classes are; `risk` is the laxest of their
    shares. `m`, `answered`, `wrong` and `near` are sums over the classes; the other fields are a `Certificate`'s.
    """

    threshold: float
    risk: float
    delta: float
    level: float
    classes: tuple[ClassCount, ...]
    near: int
    tolerance: Tolerance
    unit: Unit
    grid: int
    tests: int
    procedure: str
    look: Look
    coverage: CoverageBound

    @property
    def m(self) -> int:
        """The certify units of all classes."""
        return sum(each.n for each in self.classes)

    @property
    def answered(self) -> int:
        """How many of them were answered."""
        return sum(each.answered for each in self.classes)

    @property
    def wrong(self) -> int:
        """How many of these were wrong."""
        return sum(each.wrong for each in self.classes)

    @property
    def sentence(self) -> str:
        """The guarantee in one sentence, with what it rests on."""
        risks = sorted({each.risk for each in self.classes})
        each = f"at most {100 * risks[0]:.3g} in 100" if len(risks) == 1 else "at most the stated share"
        listed = "" if len(risks) == 1 else f" ({', '.join(f'{c.name}: {100 * c.risk:.3g}' for c in self.classes)})"
        return (
            f"Of the images of each class, {each} are answered wrong{listed}, however common the classes are, and "
            f"{self.coverage.sentence} at the mixture of these ({100 * (1 - self.delta):.3g} % confidence for all; "
            f"{self.m:,} labelled {self.unit}s; {self.look.sentence}). It answers where the score is at most "
            f"{self.threshold:.4g}: {self.answered:,} of {self.m:,}."
        )

    def on(self, signal: str) -> "ClassThreshold":
        """The policy that keeps this guarantee, on the signal it was made for."""
        return ClassThreshold(signal=signal, certificate=self)


@dataclass(frozen=True, kw_only=True)
class ClassThreshold(OneThreshold):
    """Answers iff the uncertainty of `signal` is at most the threshold certified for every class."""

    signal: str
    certificate: ClassCertificate
