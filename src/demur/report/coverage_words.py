"""Where the coverage goes, and what a team costs, line by line in numbers that add up as they are printed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from demur.analysis.accuracy.coverage_steps import ConditionStep, CoverageLoss, Lever
from demur.analysis.accuracy.team_cost import Team, TeamRow
from demur.analysis.quantity import Quantity
from demur.report.phrases import count, percent

LEVERS: Mapping[Lever, str] = {
    "model": "a model that is wrong less often",
    "signal": "a signal that ranks errors better",
    "labels": "more certify labels",
    "camera": "a better camera, light or place",
}
_ATTACKED = "a model that is harder to fool"


@dataclass(frozen=True, kw_only=True)
class StepLine:
    """One step in words; `lost` and `points` are what it takes from the step before, with their signs."""

    sentence: str
    images: str
    lost: str
    coverage: Quantity
    points: str
    lever: str


def step_lines(found: CoverageLoss) -> Iterator[StepLine]:
    """The steps down to what is answered; tenths of a per cent are differences of those printed."""
    before = _tenths(1.0)
    for step in found.steps:
        here = _tenths(step.coverage.value)
        yield StepLine(
            sentence=step.sentence,
            images=count(step.images),
            lost="" if step.lever is None else _signed(-step.lost),
            coverage=step.coverage,
            points="" if step.lever is None else _points(here - before),
            lever="" if step.lever is None or step.lost <= 0 else LEVERS[step.lever],
        )
        before = here


def condition_lever(step: ConditionStep) -> str:
    """What would move a condition, where it loses anything."""
    if not step.lost:
        return ""
    return _ATTACKED if step.kind == "attack" else LEVERS[step.lever]


def _tenths(share: float) -> int:
    """A share in tenths of a per cent, rounded as it is printed."""
    return round(float(percent(share).removesuffix(" %")) * 10)


def _points(tenths: int) -> str:
    return f"{tenths / 10:+.1f}".replace("-", "−")


def _signed(number: int) -> str:
    return f"{number:+,}".replace("-", "−") if number else "0"


def team_name(row: TeamRow, found: Team) -> str:
    """Who answers, in words."""
    match row.answering:
        case "person":
            return "the person alone"
        case "model":
            return "the model alone"
        case "policy":
            return f"together, by {found.policy}"
        case _:
            return f"together, the surest {percent(row.target or 0.0, 0)} by {found.signal}"


def team_sentence(found: Team) -> str:
    """What costs least, and what it is worth against either alone."""
    alone = {row.answering: row for row in found.rows}
    best = found.cheapest
    if best.answering in {"person", "model"}:
        return f"On the tune images {team_name(best, found)} costs least."
    return (
        f"On the tune images it costs least that the model answers the surest {percent(best.target or 0.0, 0)}: on "
        f"test images {percent(best.error.value)} are then wrong, where the model alone has "
        f"{percent(alone['model'].error.value)} and the person alone {percent(found.human_error)}."
    )
