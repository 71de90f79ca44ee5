"""What a plan asks beyond its conditions: how far until the answer changes, where the model looks, what hiding does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from demur.attacks.ray import Ray
from demur.attribution.occlusion import OccludedBy, Part, Side
from demur.data import Source
from demur.errors import InputError
from demur.pipeline.plan.conditions import Condition, Shape, conditions
from demur.pipeline.plan.plan_file import OCCLUSIONS, AttributionPlan, EpsilonPlan, LipschitzPlan, Plan
from demur.registry import build, describe, parse
from demur.registry.tables import CENTRED, MARKED

_PLACES: Mapping[Part, str] = {"whole": "everywhere", "object": "on the object", "background": "off the object"}
_SIDES: tuple[Side, ...] = ("object", "background")
_LOOKED = 32
_WAYS: Mapping[OccludedBy, str] = {"blur": "blurred", "mean": "painted over with the mean colour of the rest"}


def with_default_sections(plan: Plan, source: Source, *, spatial: bool = True) -> Plan:
    """The plan with its sections written out: where it names no conditions, what is usual; else what it asks.

    Args:
        plan: as it was given.
        source: its images; the objects they mark are looked at too.
        spatial: whether the model has layers with pixels, which Grad-CAM needs.
    """
    usual = not plan.conditions.use
    map_names = _canonical(plan.attribution.maps, (*(("grad_cam",) if spatial else ()), "gradient"), usual=usual)
    region_conditions = _canonical(
        plan.attribution.regions, _usual_regions(source, spatial=spatial) if usual else (), usual=usual
    )
    found = tuple(condition.name for condition in search_conditions(plan.epsilon, source.input_shape, usual=usual))
    occlude = (
        plan.attribution.occlude if plan.attribution.occlude is not None else OCCLUSIONS if region_conditions else ()
    )
    images = plan.lipschitz.images if plan.lipschitz.images is not None else 64 if usual else 0
    return plan.model_copy(
        update={
            "epsilon": plan.epsilon.model_copy(update={"use": found}),
            "attribution": plan.attribution.model_copy(
                update={"maps": map_names, "regions": region_conditions, "occlude": occlude}
            ),
            "lipschitz": LipschitzPlan(images=images),
        }
    )


def _canonical(given: Sequence[str] | None, others: tuple[str, ...], *, usual: bool) -> tuple[str, ...]:
    texts = given if given is not None else others if usual else ()
    return tuple(dict.fromkeys(text if text in {MARKED, CENTRED} else _map_name(text) for text in texts))


def _map_name(text: str) -> str:
    return describe(parse(text).name, build("map", text))


def _usual_regions(source: Source, *, spatial: bool) -> tuple[str, ...]:
    """What is known of the object, and the blob that any of it must beat."""
    found = (*(("grad_cam",) if spatial else ()), *((MARKED,) if _is_marked(source) else ()))
    return (*found, CENTRED) if found else ()


def _is_marked(source: Source) -> bool:
    """Whether any of some images from all over the set says where its object is."""
    places = sorted({place * len(source) // _LOOKED for place in range(_LOOKED)}) if len(source) else []
    return any(row.mark is not None for row in source.read(places))


def sections(plan: Plan, shape: Shape) -> tuple[Condition, ...]:
    """The searches, maps and hidden parts of a completed plan, none named twice.

    Raises:
        InputError: a search that stands among the conditions too.
    """
    found = (
        *search_conditions(plan.epsilon, shape),
        *map_conditions(plan.attribution),
        *region_conditions(plan.attribution),
        *occlusion_conditions(plan.attribution),
    )
    twice = {condition.name for condition in conditions(plan.conditions.use, shape)} & {each.name for each in found}
    if twice:
        raise InputError(
            f"{sorted(twice)[0]!r} stands among the conditions and in [epsilon] too. It would be measured twice, on "
            "other images: keep it in one of the two."
        )
    return found


def search_conditions(plan: EpsilonPlan, shape: Shape, *, usual: bool = False) -> tuple[Condition, ...]:
    """The searches for the smallest change.

    Raises:
        InputError: an attack that keeps points of one size, or aims at a class.
    """
    texts = plan.use if plan.use is not None else ("ray",) if usual else ()
    return tuple(_search(condition) for condition in conditions(texts, shape) if condition.kind != "clean")


def _search(condition: Condition) -> Condition:
    if condition.attack is None or not condition.unlimited or condition.target is not None:
        raise InputError(
            f"[epsilon] is about searches for the smallest change that makes an answer wrong; got {condition.name!r}. "
            "Name ray, fmn, ddn, deepfool or cw there, without a target, and put other conditions in [conditions]."
        )
    return replace(condition, kind="epsilon", part="whole" if isinstance(condition.attack, Ray) else None)


def map_conditions(plan: AttributionPlan) -> Iterator[Condition]:
    """The maps, each measured on its own grid; all but the first also against the first."""
    for text in plan.maps or ():
        thing = build("map", text)
        yield Condition(
            name=text, family=parse(text).name, kind="map", severity=0.0, sentence=thing.sentence, map=thing
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
