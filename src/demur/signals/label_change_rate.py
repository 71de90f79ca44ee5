"""How many spoilt copies of the model give another answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from demur.errors import InputError
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.shapes import Flags, Labels, Scores
from demur.signals import Needs
from demur.signals.early_stopping import RULES, Stopping
from demur.signals.mutants import Mutation, accept, answers_of
from demur.signals.softmax_scores import MSP, missing

_FOLLOWED = 20
"""Mutants, at most, through which a surrogate takes its gradient."""


@dataclass(frozen=True, kw_only=True)
class LabelChangeRate:
    """Share of slightly spoilt copies of the model that change its answer: high when little damage is enough.

    A mutant has a share `gamma` of its filters spoilt by an operator, `nai`, `gf`, `ws` or `ns` (see `Mutation`), and
    keeps at least `kept` of the model's accuracy on the reference. `stopping` says when an image has been run through
    enough of them: `predictive`, `sprt` or `never` (see `Stopping`); the score is then the share to be expected of all.

    Wang et al. (2019), arXiv:1812.05793; for errors Wu et al. (2019), arXiv:1910.00387.
    """

    unit: ClassVar[str] = "share of mutants"
    made_of: ClassVar[str] = "mutants"

    operator: str = "nai"
    gamma: float = 0.01
    mutants: int = 100
    kept: float = 0.9
    stopping: str = "predictive"
    seed: int = 0

    def __post_init__(self) -> None:
        self.mutation  # noqa: B018 — its own rules are checked when it is made
        if self.mutants < 1:
            raise InputError(f"label_change_rate: `mutants` must be at least 1; got {self.mutants}.")
        if not 0 <= self.kept <= 1:
            raise InputError(f"label_change_rate: `kept` is a share of accuracy, 0 to 1; got {self.kept}.")
        if self.stopping not in RULES:
            raise InputError(f"label_change_rate: `stopping` is one of {', '.join(RULES)}; got {self.stopping!r}.")

    @property
    def mutation(self) -> Mutation:
        """How mutants are made."""
        return Mutation(operator=self.operator, gamma=self.gamma, seed=self.seed)

    @property
    def needs(self) -> Needs:
        """At most every mutant for an image and what they share, block by block; in fitting failed ones as well."""
        blocks = len(list(Stopping(self.stopping, self.mutants).blocks(range(self.mutants))))
        return Needs(passes=self.mutants + blocks, fitting=3 * self.mutants)

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "FittedLabelChangeRate":
        accepted = accept(self.mutation, reference, labels, count=self.mutants, kept=self.kept)
        uncertainty = torch.cat([MSP()(evidence).detach() for evidence in reference])
        wrong = torch.cat([evidence.logits.argmax(dim=1) for evidence in reference]) != labels
        return FittedLabelChangeRate(
            mutation=self.mutation,
            numbers=accepted.numbers,
            tried=accepted.tried,
            rule=Stopping.learned(self.stopping, accepted.changed, uncertainty, wrong),
        )


@dataclass(frozen=True, kw_only=True)
class FittedLabelChangeRate:
    """The numbers of the accepted mutants, and when to stop; mutants are made again whenever they are run."""

    unit: ClassVar[str] = LabelChangeRate.unit
    made_of: ClassVar[str] = LabelChangeRate.made_of

    mutation: Mutation
    numbers: tuple[int, ...]
    tried: int
    rule: Stopping

    @property
    def facts(self) -> Mapping[str, Any]:
        """How many candidates were tried for these mutants, and the rule."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self.rule).items()}
        return {"tried": self.tried, "numbers": list(self.numbers), **plain}

    def __call__(self, evidence: Evidence) -> Scores:
        return self.of_parts(self.parts(evidence), evidence)

    def surrogate(self, evidence: Evidence) -> Scores:
        """The mean probability that mutants give to other answers than the model's, over some of them."""
        own, some = evidence.logits.argmax(dim=1), self.numbers[:: -(-len(self.numbers) // _FOLLOWED)]
        mutants = [self.mutation.mutant(evidence.filters, number) for number in some]
        total = torch.zeros(len(evidence), dtype=torch.float64)
        for _, rows, logits in evidence.mutant_logits(mutants, torch.arange(len(evidence))):
            total = total.index_add(0, rows, missing(logits.double(), own[rows]))
        return total / len(some)

    def of_parts(self, parts: Mapping[str, Scores], evidence: Evidence) -> Scores:
        """The share of all mutants that is to be expected to change the answer."""
        return self.rule.expected(parts["changes"].long(), parts["mutants"].long(), MSP()(evidence))

    def parts(self, evidence: Evidence) -> Mapping[str, Scores]:
        """How many mutants each row was run through, and how many changed its answer; where all are run, each."""
        if self.rule.rule == "never":
            changes = self.changes(evidence).double()
            each = {str(number): row for number, row in zip(self.numbers, changes, strict=True)}
            total = torch.full((len(evidence),), float(len(changes)))
            return {"changes": changes.sum(dim=0), "mutants": total, **each}
        changes, mutants = self.counts(evidence)
        return {"changes": changes.double(), "mutants": mutants.double()}

    def counts(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Mutants that changed the answer to each row, and mutants it was run through until the rule said stop."""
        own, uncertainty = evidence.logits.argmax(dim=1), MSP()(evidence)
        changes, mutants = torch.zeros(2, len(evidence), dtype=torch.int64)
        for numbers in self.rule.blocks(self.numbers):
            rows = (~self.rule.enough(changes, mutants, uncertainty)).nonzero()[:, 0]
            if not len(rows):
                break
            changes[rows] += (answers_of(self.mutation, evidence, numbers, rows) != own[rows]).sum(dim=0)
            mutants[rows] += len(numbers)
        return changes, mutants

    def changes(self, evidence: Evidence) -> Tensor:
        """Whether each mutant changes the answer, (mutants, rows), none left out."""
        return answers_of(self.mutation, evidence, self.numbers) != evidence.logits.argmax(dim=1)


def auroc_by_mutants(changes: Tensor, wrong: Flags, counts: Sequence[int]) -> dict[int, float]:
    """How well the share of the first so many mutants tells wrong answers from right ones.

    Args:
        changes: whether each mutant changes the answer, (mutants, rows).
        wrong: whether the model's own answer is wrong, (rows,).
        counts: numbers of mutants.
    """
    return {count: auroc(changes[:count].double().mean(dim=0).numpy(), wrong.numpy()) for count in counts}
