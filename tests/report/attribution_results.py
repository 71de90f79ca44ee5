"""Plausible results on where a model looks: maps, regions, agreement with marks."""

import math

from demur.analysis.attribution.map_tables import Agreement, Localisation, MapRow, Measure, Overlay, Sanity
from demur.analysis.attribution.region_tables import Attribution, ClassRegion, Occlusion, Region, RegionAgreement
from demur.analysis.robustness.censored_quantiles import CensoredQuantile
from tests.report.detail_tables import CLASSES as NAMES
from tests.report.detail_tables import thumb
from tests.report.simulated_scores import near, share, undefined


def measure(name, sentence, value, **changes):
    facts = {
        "measure": name,
        "sentence": sentence,
        "median": near(value, 0.02, 500),
        "uniform": 0.5,
        "centred": 0.31,
        "shuffled": value,
        "perturbation_correlation": near(-0.21, 0.08, 460),
        "auroc": near(0.61, 0.04, 500),
        "gain": near(-0.27, 0.04, 500),
    }
    return Measure(**(facts | changes))


MEASURES = (
    ("area_50", "share of the map that holds half of its mass", 0.17),
    ("area_90", "share of the map that holds nine tenths of its mass", 0.55),
    ("gini", "inequality of the map, 1 where one cell holds all", 0.62),
    ("entropy", "entropy of the map, 1 where it is flat", 0.88),
    ("dispersion", "spread around its centre", 0.34),
    ("components", "connected parts above 20 % of the maximum", 1.4),
)


def picture(at):
    return Overlay(
        sample_id=f"fashion/test/{37 * at:05d}",
        label=NAMES[at % 10],
        predicted=NAMES[(at + at % 3) % 10],
        image=thumb(at),
        overlay=thumb(at + 3),
    )


def localisations(name, sentence, value):
    return Localisation(
        measure=name,
        sentence=sentence,
        value=near(value, 0.04, 480),
        uniform=near(0.31, 0.02, 480),
        centred=near(0.48, 0.03, 480),
        shuffled=near(0.3, 0.03, 480),
    )


def map_row(name, others=(), **changes):
    facts = {
        "condition": name,
        "name": name,
        "sentence": f"{name.replace('_', ' ').capitalize()}, for the predicted class",
        "height": 8,
        "width": 8,
        "n": 500,
        "empty": 12 if name == "grad_cam" else 0,
        "measures": tuple(measure(*row) for row in MEASURES),
        "localisations": (
            localisations("pointing", "the brightest cell lies in the mark", 0.71),
            localisations("energy", "share of the mass in the mark", 0.52),
        ),
        "agreements": tuple(
            Agreement(other=other, n=488, correlation=near(0.34, 0.03, 488), overlap=near(0.28, 0.02, 488))
            for other in others
        ),
        "sanity": Sanity(
            n=32, correlation=near(0.08, 0.06, 32), state="pass", sentence="With random weights the map changes."
        ),
        "pictures": tuple(picture(at) for at in range(12)),
    }
    return MapRow(**(facts | changes))


def one_region(at, name, rank):
    difference = near(0.6 * math.sin(at * 0.7) + 0.2, 0.18, 40)
    lean = "object" if difference.low > 0 else "background" if difference.high < 0 else "undecided"
    if at == 2:
        difference, lean = undefined("fewer than 6 images", 4), "undecided"
    return ClassRegion(
        name=name,
        n=40 if at != 2 else 4,
        difference=difference,
        object_smaller=27,
        background_smaller=13,
        p_value=0.003 if at != 2 else math.nan,
        reliance=lean,
        rank=rank,
    )


def region(name="marked", classes=NAMES, **changes):
    order = sorted((at for at in range(len(classes)) if at != 2), key=lambda at: -math.sin(at * 0.7))
    rank = {at: place for place, at in enumerate(order, 1)}
    facts = {
        "region": name,
        "sentence": "The object is what the data marks" if name == "marked" else f"The object is where {name} looks",
        "norm": "l2",
        "cap": 20.0,
        "n": 460,
        "whole": CensoredQuantile(value=0.82, low=0.77, high=0.88, n=460),
        "object": CensoredQuantile(value=0.95, low=0.9, high=1.02, n=460),
        "background": CensoredQuantile(value=1.41, low=1.3, high=1.52, n=460),
        "difference": near(0.41, 0.06, 460),
        "object_smaller": 330,
        "background_smaller": 118,
        "ties": 12,
        "p_value": 1e-9,
        "effect": near(0.46, 0.07, 460),
        "reliance": "object",
        "occlusions": tuple(
            Occlusion(condition=f"occlude(part='{part}', by='{by}')", part=part, fill=by, n=460,
                   share=share(0.3, 460), answer_changes=share(0.6, 460),
                   fall=near(0.55 if part == "object" else 0.12, 0.03, 460))
            for part in ("object", "background") for by in ("blur", "mean")
        ),
        "per_class": tuple(one_region(at, name, rank.get(at)) for at, name in enumerate(classes)),
    }  # fmt: skip
    return Region(**(facts | changes))


def where(classes=NAMES, **changes):
    names = ("grad_cam", "gradient", "smooth_grad")
    facts = {
        "maps": tuple(map_row(name, [other for other in names if other != name]) for name in names),
        "regions": (region("marked", classes), region("grad_cam", classes)),
        "agreements": (
            RegionAgreement(
                region="grad_cam",
                n=460,
                mass_inside=near(0.52, 0.03, 460),
                mask_share=near(0.31, 0.02, 460),
                same_sign=share(0.81, 460),
                correlation=near(0.44, 0.08, 460),
            ),
        ),
    }
    return Attribution(**(facts | changes))
