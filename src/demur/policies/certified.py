"""The certified threshold: a promise about the share of wrong answers."""

from dataclasses import dataclass

from demur.errors import InputError
from demur.metrics.binomial import check_levels, risk_upper_bound
from demur.policies.calibration import Calibration
from demur.policies.certificate import Certificate, Refusal
from demur.policies.fixed_sequence import Passed, Sequence, climb, lay_out
from demur.policies.gaps import Gaps
from demur.policies.refusal import refuse


@dataclass(frozen=True, kw_only=True)
class Certified:
    """The laxest threshold of which it can be shown that at most `risk` of its answers are wrong.

    The promise fails with probability at most `delta` over the draw of the certify rows. Thresholds are tested by exact
    binomial tails in a sequence fixed before any certify label is read (`fixed_sequence`), or nothing is promised.
    Angelopoulos et al. (2021), arXiv:2110.01052 (fixed-sequence testing of a risk).
    """

    risk: float = 0.02
    delta: float = 0.05

    def __post_init__(self) -> None:
        check_levels(self.risk, self.delta)

    def plan(self, tune: Calibration, m: int) -> tuple[Sequence, ...]:
        """The thresholds that `m` certify units will be asked about, in order; no label is read."""
        return lay_out(Gaps.of(tune.one_per_group().scores), m, self.risk, self.delta)

    def fit(self, tune: Calibration, certify: Calibration) -> Certificate | Refusal:
        """A promise from two disjoint sets of rows, or a refusal. Grouped rows are reduced to one per group.

        The signal and everything else must have been chosen without the certify rows.
        """
        if not len(tune):
            raise InputError(
                "a certified threshold needs readable tune rows to place its grid; there are none. Give more images, "
                "or call some of them `tune` or `val` in your split."
            )
        tune, certify = tune.one_per_group(), certify.one_per_group()
        sequences = self.plan(tune, len(certify))
        climbed = [climb(sequence, certify, self.risk) for sequence in sequences]
        reached = [passed for passed, _ in climbed if passed is not None]
        if not reached:
            return refuse(tune, certify, self.risk, self.delta)
        best = max(reached, key=lambda passed: passed.threshold)
        return self._certificate(best, certify, sequences, tests=sum(tests for _, tests in climbed))

    def _certificate(
        self, best: Passed, certify: Calibration, sequences: tuple[Sequence, ...], tests: int
    ) -> Certificate:
        return Certificate(
            threshold=best.threshold,
            risk=self.risk,
            delta=self.delta,
            level=best.level,
            m=len(certify),
            answered=best.answered,
            wrong=best.wrong,
            bound=risk_upper_bound(best.wrong, best.answered, best.level),
            unit=certify.unit,
            grid=len({threshold for sequence in sequences for threshold in sequence.thresholds}),
            tests=tests,
            procedure=(
                "fixed-sequence testing by exact binomial tails; thresholds from tune scores in 2 % steps of coverage; "
                f"{len(sequences)} label-free start(s), each at level {best.level:g}"
            ),
        )
