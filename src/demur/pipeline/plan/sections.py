"""What a plan measures beyond its conditions: minimal perturbations, attribution maps, occlusions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil

from demur.attacks.ray import Ray
from demur.attribution import AttributionMap
from demur.attribution.occlusion import OccludedBy, Part, Side
from demur.errors import InputError
from demur.pipeline.plan.conditions import Condition, Shape, conditions
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.plan_tables import AttributionPlan, GuardAttackPlan
from demur.policies import CERTIFIERS
from demur.registry import build, call_of, describe
from demur.registry.tables import CENTRED, MARKED
from demur.signals import AnySignal, needs_of

_PLACES: Mapping[Part, str] = {"whole": "everywhere", "object": "on the object", "background": "off the object"}
_SIDES: tuple[Side, ...] = ("object", "background")
_WAYS: Mapping[OccludedBy, str] = {"blur": "blurred", "mean": "painted over with the mean colour of the rest"}


def search_conditions(texts: Sequence[str], shape: Shape) -> tuple[Condition, ...]:
    """The searches for the minimal perturbation.

    Raises:
        InputError: an attack that keeps points of one size, or aims at a class.
    """
    return tuple(_search(condition) for condition in conditions(texts, shape) if condition.kind != "clean")


def _search(condition: Condition) -> Condition:
    if condition.attack is None or not condition.unlimited or condition.target is not None:
        raise InputError(
            f"[epsilon] is about searches for the smallest change that makes an answer wrong; got {condition.name!r}. "
            "Name ray, fmn, ddn, deepfool or cw there, without a target, and put other conditions in [conditions]."
        )
    return replace(condition, kind="epsilon", part="whole" if condition.line else None)


def map_condition(text: str) -> Condition:
    """A map, measured on its own grid; all but the first of a plan also against the first."""
    call = call_of(text)
    found: AttributionMap = build("map", call)
    return Condition(
        name=describe(call.name, found),
        family=call.name,
        kind="map",
        severity=0.0,
        sentence=found.sentence,
        map=found,
    )


def region_conditions(plan: AttributionPlan) -> Iterator[Condition]:
    """Rays of equal L2 towards the object, towards its background, and once over the whole image."""
    ray = Ray(norm="l2")
    for number, region in enumerate(plan.regions or ()):
        for part, where in _PLACES.items():
            if part == "whole" and number:
                continue
            yield Condition(
                name=describe("ray", ray, part=part, region=region),
                family="ray",
                kind="epsilon",
                severity=0.0,
                sentence=f"The smallest L2 change along the sign of the gradient, {where}{_says(part, region)}",
                attack=ray,
                norm=ray.norm,
                keep="nearest",
                part=part,
                region=region,
            )


def occlusion_conditions(plan: AttributionPlan) -> Iterator[Condition]:
    """Images with the object or its background hidden."""
    for region in plan.regions or ():
        for by in (way for way in _WAYS if way in (plan.occlude or ())):
            for part in _SIDES:
                yield Condition(
                    name=f"occlude(by={by!r}, part={part!r}, region={region!r})",
                    family="occlude",
                    kind="intervention",
                    severity=0.0,
                    sentence=f"The {part} {_WAYS[by]}{_says(part, region)}",
                    part=part,
                    region=region,
                    by=by,
                )


def _says(part: Part, region: str) -> str:
    if part == "whole":
        return ""
    known = {MARKED: ", as marked in the data", CENTRED: ", were it a blob in the middle"}
    return known.get(region, f", as {region} shows it")


_GUARDED, _FEWEST = 200, 50
"""Images on which a guard is attacked in the usual plan, and the fewest of those that costly signals leave."""


def guard_passes(plan: Plan, signals: Mapping[str, AnySignal], second: Iterable[str | None]) -> float:
    """Forward passes of their own that the signals of a guard take of one image, at most.

    Args:
        plan: whose certified signal counts where it names one; else the dearest that may be chosen does.
        signals: by canonical name, as the plan has them.
        second: the signals of second thresholds, None where there is none; the dearest is added.
    """
    costs = {name: needs_of(signal).passes for name, signal in signals.items()}
    certified = plan.signals.certify if plan.guard is None else None
    first = max(costs.values(), default=0.0) if certified is None else costs[certified]
    return first + max((costs[name] for name in second if name is not None and name != certified), default=0.0)


def guard_attack(plan: Plan, passes: float, policies: Iterable[object], *, gradients: bool) -> GuardAttackPlan:
    """The attack on the guard with its number of images: what the plan has, and else what is usual.

    It is usual where a guarantee is asked for or a guard is under audit. Signals of a guard that take passes of their
    own, `passes` in all, take them at every step of an attack, so there are as many fewer images.
    """
    given = plan.guard_attack
    if given.images is not None:
        return given
    guarded = plan.guard is not None or any(isinstance(policy, CERTIFIERS) for policy in policies)
    usual = guarded and gradients and not plan.conditions.use
    images = min(plan.conditions.attacked, max(_FEWEST, ceil(_GUARDED / (1 + passes)))) if usual else 0
    return given.model_copy(update={"images": images})
