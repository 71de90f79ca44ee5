"""Screen, curve, verdict: several attacks in the order of their price, each on the rows that still need it."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from demur.attacks.core.attack import Attack, Refusal, Stage, refuse
from demur.attacks.core.attack_state import Keep, Norm, Outcome
from demur.attacks.core.hyperparameters import check_eps, check_norm
from demur.attacks.core.objective import Objective
from demur.errors import unknown
from demur.randomness import Keys
from demur.registry import build
from demur.shapes import Images, Labels, Logits, Scores

_SCREEN: tuple[str, ...] = ("noise(eps={eps}, norm='{norm}', steps=5)", "fgsm(eps={eps}, norm='{norm}')")

PRESETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "quick": (
            *_SCREEN,
            "fmn(norm='{norm}', steps=30, growth=0.2)",
            "apgd(eps={eps}, norm='{norm}', steps=30)",
            "apgd_t(eps={eps}, norm='{norm}', steps=30, targets=1)",
            "square(eps={eps}, norm='{norm}', steps=100)",
        ),
        "standard": (
            *_SCREEN,
            "fmn(norm='{norm}', steps=40, growth=0.2)",
            "apgd(eps={eps}, norm='{norm}', steps=100)",
            "apgd_t(eps={eps}, norm='{norm}', steps=100, targets=3)",
            "square(eps={eps}, norm='{norm}', steps=500)",
        ),
        "thorough": (
            *_SCREEN,
            "fmn(norm='{norm}', steps=100, growth=0.2)",
            "apgd(eps={eps}, norm='{norm}', steps=100)",
            "apgd_t(eps={eps}, norm='{norm}', steps=100, targets=9)",
            "square(eps={eps}, norm='{norm}', steps=5000)",
        ),
    }
)

_SEARCH = "fmn"
"""The search for minimal perturbations. In 40 steps its ball must move faster than in the hundreds of its paper, hence
`growth`. It serves L2 as well: in so few steps DDN, from a radius of 1, never gets below .13, and half of the answers
of an undefended CIFAR net flip at .04."""

_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Ensemble(Attack):
    """Screen → curve → verdict: cheap attacks, then the smallest change of every image, then strong ones on survivors.

    Noise and FGSM fool what is easily fooled; a search for the minimal perturbation gives every image a distance, so
    that accuracy at every size comes from one run; APGD tries what stands at `eps`, then aims at the classes that came
    nearest; Square, which sees no gradient, is the alarm for gradients that mislead. An image stands if nothing of size
    `eps` or less fooled the model. Without `curve` the search is left out.

    After the ensemble of Croce & Hein (2020), arXiv:2003.01690.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "cross_entropy"
    no_keep: ClassVar[Refusal] = (
        "an ensemble keeps the nearest success of its attacks",
        "Name one attack, such as pgd, to keep another point.",
    )
    no_target: ClassVar[Refusal] = (
        "an ensemble measures whether an image can be taken for any other class",
        "Name one attack, such as pgd or fmn.",
    )

    eps: float
    norm: Norm = "linf"
    preset: str = "standard"
    curve: bool = True

    def __post_init__(self) -> None:
        check_norm(self.norm, self.norms)
        check_eps(self.eps, self.norm)
        if self.preset not in PRESETS:
            raise unknown("preset", self.preset, PRESETS)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The attacks in their order."""
        texts = [text.format(eps=repr(self.eps), norm=self.norm) for text in PRESETS[self.preset]]
        found = [(text.partition("(")[0], build("attack", text)) for text in texts]
        return tuple(
            Stage(name=name, attack=attack, keep="nearest" if name == _SEARCH else "first", everyone=name == _SEARCH)
            for name, attack in found
            if self.curve or name != _SEARCH
        )

    @property
    def minimal(self) -> bool:
        """Whether one of its attacks looks for the minimal perturbation of each image."""
        return self.curve

    @property
    def passes(self) -> int:
        """Forward and backward passes an image takes at most."""
        return sum(stage.attack.passes for stage in self.stages)

    @property
    def steps(self) -> int:
        """Steps of all its attacks together, for an image that nothing fools."""
        return sum(stage.attack.steps * stage.attack.restarts for stage in self.stages)

    @property
    def sentence(self) -> str:
        """What is done, for reports."""
        names = (stage.name.upper().replace("_", "-") for stage in self.stages)
        return f"{{size}}, searched with {', '.join(names)} in turn"

    def execute(
        self,
        objective: Objective,
        x: Images,
        y: Labels,
        keys: Keys,
        *,
        keep: Keep | None = None,
        batch: int = 128,
        target: Labels | None = None,
        eps: Scores | None = None,
        answers: Logits | None = None,
        weights: Tensor | None = None,
        trace: bool = False,
    ) -> Outcome:
        """Run every stage on the rows that need it and keep each row's nearest success."""
        self.check_keep(keep)
        self.check_target(target)
        refuse(self, eps=eps, answers=answers, weights=weights, trace=trace)
        found = run_ensemble(self, objective, x, y, keys, batch=batch)
        return replace(found.outcome, extra=found.columns)


@dataclass(frozen=True)
class EnsembleOutcome:
    """What an ensemble did to each row.

    `outcome` has the nearest point that fooled the model, whichever attack found it. `broke` is the stage that first
    fooled it by a change of at most eps, `kept` the stage whose point is kept: positions among `stages`, −1 for none
    and −2 for rows that were wrong already. `passes` (rows, stages) counts forwards and backwards, −1 where a stage was
    not run; `seconds` is what each stage took. `search` is the distance that the search for the minimal perturbation
    found by itself, infinite where it found none or was not made.
    """

    stages: tuple[str, ...]
    outcome: Outcome
    broke: Tensor
    kept: Tensor
    passes: Tensor
    seconds: tuple[float, ...]
    search: Tensor

    @property
    def columns(self) -> dict[str, tuple[object, ...]]:
        """The same as columns of a record: the names of stages, `passes.<stage>` null where a stage was not run."""
        names = {NOT_BROKEN: None, WRONG_ALREADY: "clean", **dict(enumerate(self.stages))}
        found = tuple(None if math.isinf(size) else size for size in self.search.tolist())
        return {
            **({"epsilon.search": found} if _SEARCH in self.stages else {}),
            "stage": tuple(names[k] for k in self.broke.tolist()),
            "stage.kept": tuple(names[k] for k in self.kept.tolist()),
            **{
                f"passes.{name}": tuple(None if cost == NOT_RUN else cost for cost in costs)
                for name, costs in zip(self.stages, self.passes.T.tolist(), strict=True)
            },
        }


NOT_BROKEN, WRONG_ALREADY, NOT_RUN = -1, -2, -1


def run_ensemble(
    ensemble: Ensemble, objective: Objective, x: Images, y: Labels, keys: Keys, *, batch: int = 128
) -> EnsembleOutcome:
    """Run every stage on the rows that need it and keep each row's nearest success.

    Args:
        ensemble: what to run.
        objective: what it is aimed at; each stage climbs its own loss.
        x: clean images in [0, 1].
        y: true labels.
        keys: one key per row; results do not depend on batch size or order.
        batch: rows per pass.
    """
    tally = _Tally(ensemble, x)
    for number, stage in enumerate(ensemble.stages):
        rows = tally.standing() if number and not stage.everyone else tally.reachable(number)
        if len(rows) or not number:
            began = time.process_time()
            own = keys.named(stage.name).rows(rows.tolist())
            aim, near = objective.climbing(stage.attack.loss), tally.near(rows)
            found = stage.attack.execute(aim, x[rows], y[rows], own, keep=stage.keep, batch=batch, answers=near)
            tally.add(number, rows, found)
            tally.seconds[number] = time.process_time() - began
    return tally.result()


class _Tally:
    """The nearest success of every row so far, and what each stage cost."""

    def __init__(self, ensemble: Ensemble, x: Images) -> None:
        rows, stages, device = len(x), len(ensemble.stages), x.device
        self.ensemble = ensemble
        self.outcome: Outcome | None = None
        self.distance = torch.full((rows,), torch.inf, device=device)
        self.broke = torch.full((rows,), NOT_BROKEN, device=device)
        self.kept = torch.full((rows,), NOT_BROKEN, device=device)
        self.passes = torch.full((rows, stages), NOT_RUN, dtype=torch.int32, device=device)
        self.seconds = [0.0] * stages
        self.search = torch.full((rows,), torch.inf, device=device)
        self.closest: Logits | None = None

    def standing(self) -> Tensor:
        """Rows nothing has fooled within eps."""
        return (self.broke == NOT_BROKEN).nonzero().squeeze(1)

    def reachable(self, number: int) -> Tensor:
        """All rows at first, later all that were not wrong already."""
        return (torch.ones_like(self.broke) if not number else self.broke != WRONG_ALREADY).nonzero().squeeze(1)

    def near(self, rows: Tensor) -> Logits | None:
        """The answers where the attack before came nearest to success: they rank the classes worth aiming at."""
        return None if self.closest is None else self.closest[rows]

    def add(self, number: int, rows: Tensor, found: Outcome) -> None:
        """Enter what a stage found on some rows."""
        self.passes[rows, number] = found.forwards + found.backwards
        size = found.size(self.ensemble.norm).float().masked_fill(~found.fooled, torch.inf)
        already = found.fooled & (found.step == 0) & (size == 0)
        slack = _ROUNDING * max(1.0, self.ensemble.eps)
        within = (size <= self.ensemble.eps + slack) & (self.broke[rows] == NOT_BROKEN)
        self.broke[rows[within]] = number
        self.broke[rows[already]] = WRONG_ALREADY
        if self.ensemble.stages[number].everyone:
            self.search[rows] = size
        nearer = size < self.distance[rows]
        self.kept[rows[nearer]] = number
        self.kept[rows[already]] = WRONG_ALREADY
        self.distance[rows[nearer]] = size[nearer]
        if self.closest is None:
            self.closest = found.closest.clone()
        elif self.ensemble.stages[number].keep == "first":
            self.closest[rows] = found.closest
        self.outcome = found if self.outcome is None else _merged(self.outcome, found, rows, nearer)

    def result(self) -> EnsembleOutcome:
        """All of it, with the kept points as one outcome."""
        assert self.outcome is not None
        return EnsembleOutcome(
            stages=tuple(stage.name for stage in self.ensemble.stages),
            outcome=self.outcome,
            broke=self.broke,
            kept=self.kept,
            passes=self.passes,
            seconds=tuple(self.seconds),
            search=self.search.masked_fill(self.broke == WRONG_ALREADY, 0.0),
        )


_SUMMED = ("forwards", "backwards")
_CHOSEN = ("x", "logits", "closest", "fooled", "linf", "l2", "l1", "step", "loss_start", "loss_kept")


def _merged(before: Outcome, found: Outcome, rows: Tensor, nearer: Tensor) -> Outcome:
    """The better of two points of each row, the sum of their costs, the troubles of both."""
    changes: dict[str, Any] = {}
    for name in _CHOSEN:
        values = getattr(before, name).clone()
        values[rows[nearer]] = getattr(found, name)[nearer].to(values.dtype)
        changes[name] = values
    for name in _SUMMED:
        values = getattr(before, name).clone()
        values[rows] += getattr(found, name)
        changes[name] = values
    troubles = before.troubles.clone()
    troubles[rows] |= found.troubles
    return replace(before, **changes, troubles=troubles)
