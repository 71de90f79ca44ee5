"""Error and cost of a model and the person who takes what it abstains on, at a stated error rate of the person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from demur.analysis.accuracy.error_direction import cost_per_image, price_table
from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.run_folder import Flags, Floats, Run, score, share
from demur.metrics import Estimate
from demur.metrics.prevalence import ClassRate, team_error
from demur.policies import ACCEPT_ALL, threshold_near
from demur.records import groups, wrong
from demur.registry.gate_rules import ABSTAINED, HUMAN_ERROR

Answering: TypeAlias = Literal["person", "policy", "coverage", "model"]

COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Shares of images to answer that a team is worked out for, beside none and all."""


class TeamRow(Table):
    """Who answers what, over clean test images, and the error and cost of an image of any kind.

    `target` is the share of tune images that the threshold answers, null for a policy. A person gets the share
    `human_error` of what is left to them wrong, each wrong answer being as likely.
    """

    answering: Answering
    target: float | None
    threshold: Number | None
    coverage: Quantity
    error: Quantity
    cost: Quantity


class Team(Table):
    """The person alone, the policy, the signal at several coverages, the model alone.

    `cheapest` is the row, of all but the policy, that costs least on the tune images: it was chosen without the test
    images it is reported on. The error rate of the person is taken as it was stated, without an interval.
    """

    human_error: float
    policy: str | None
    signal: str
    rows: tuple[TeamRow, ...]
    cheapest: TeamRow


@dataclass(frozen=True, eq=False)
class _Prices:
    """What an answer costs (true class, answer), what an abstention does, and how often a person is wrong."""

    table: Floats
    abstained: float
    human_error: float

    def paid(self, rows: pl.DataFrame, answered: Flags) -> Floats:
        """The cost of each row; a person's error costs what errors of the true class do on average."""
        labels = rows["label"].to_numpy()
        by_person = self.table.sum(axis=1) / (len(self.table) - 1)
        model = self.table[labels, rows["predicted"].to_numpy()]
        return np.where(answered, model, self.abstained + self.human_error * by_person[labels])

    @property
    def dearest(self) -> float:
        """The most that an image can cost."""
        return max(float(self.table.max()), self.abstained + float(self.table.max()))


def team(run: Run, matrix: Mapping[str, float]) -> Team | None:
    """The team; None where the plan states no error rate of a person, or there are no test or tune images."""
    test, tune = run.rows("clean", "test"), run.rows("clean", "tune")
    if HUMAN_ERROR not in matrix or test.is_empty() or tune.is_empty():
        return None
    prices = _Prices(price_table(run.classes, matrix), matrix.get(ABSTAINED, 0.0), matrix[HUMAN_ERROR])
    signal = _signal(run)
    thresholds = _thresholds(score(tune, signal))
    shares = tuple(
        _row(test, score(test, signal) <= at, prices, _WHO.get(to, "coverage"), to, at) for to, at in thresholds
    )
    spent = [float(prices.paid(tune, score(tune, signal) <= at).mean()) for _, at in thresholds]
    cheapest = min(range(len(shares)), key=lambda at: (spent[at], -at))
    name = run.chosen_policy
    chosen = () if name is None else (_row(test, run.accepts(run.policies[name], test), prices, "policy"),)
    return Team(
        human_error=prices.human_error,
        policy=name,
        signal=signal,
        rows=(shares[0], *chosen, *shares[1:]),
        cheapest=shares[cheapest],
    )


def _signal(run: Run) -> str:
    """Of the certified threshold, or of the one that was refused; msp without either."""
    if run.guard is not None:
        return run.guard.signal
    return next((entry["signal"] for entry in run.policy_facts if "refusal" in entry), "msp")


_WHO: Mapping[float, Answering] = {0.0: "person", 1.0: "model"}


def _thresholds(tune: Floats) -> list[tuple[float, float]]:
    """Shares to answer and the thresholds that do so on tune images, from the person alone to the model alone."""
    between = [(target, threshold_near(tune, target)) for target in COVERAGES]
    return [(0.0, -ACCEPT_ALL), *between, (1.0, ACCEPT_ALL)]


def _row(
    test: pl.DataFrame,
    answered: Flags,
    prices: _Prices,
    who: Answering,
    target: float | None = None,
    threshold: float = np.nan,
) -> TeamRow:
    return TeamRow(
        answering=who,
        target=target,
        threshold=threshold,
        coverage=share(answered, test),
        error=_error(test, answered, prices.human_error, who),
        cost=cost_per_image(prices.paid(test, answered), test, prices.dearest),
    )


def _error(test: pl.DataFrame, answered: Flags, human_error: float, who: Answering) -> Quantity:
    """Of a person alone it is what was stated."""
    units = groups(test)
    if who == "person":
        stated = ClassRate.of(answered, units)
        ends = {"value": human_error, "low": human_error, "high": human_error}
        return Quantity.of(Estimate(**ends, n=stated.units, unit=stated.unit, reason="as it was stated"))
    if who == "model":
        return share(wrong(test), test)
    return Quantity.of(
        team_error(ClassRate.of(answered & wrong(test), units), ClassRate.of(~answered, units), human_error)
    )
