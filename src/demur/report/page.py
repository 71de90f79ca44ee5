"""The page: results, first screen and charts put into the templates."""

import base64
import hashlib
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from demur.analysis.accuracy.confusions import MANY
from demur.analysis.accuracy.overall import ClassRow, worst_first
from demur.analysis.attribution.region_tables import Attribution
from demur.analysis.quantity import Quantity, by_chance
from demur.analysis.results import Results
from demur.report import phrases, proof_lines
from demur.report.acceptance_lines import MISSING, GateTally, declarations, gate_value
from demur.report.attack_lines import attack_groups, is_minimal, size_interval, size_percent, stage_lines
from demur.report.breaking_lines import breaking_lines, breaking_rule
from demur.report.charts import (
    Drawing,
    against_eps,
    against_severity,
    coverage_chart,
    histogram_charts,
    part_charts,
    perturbation_charts,
    reliability_chart,
    risk_coverage_chart,
)
from demur.report.charts.figure_list import ALONE, by_section, placed_figures
from demur.report.charts.risk_charts import start
from demur.report.charts.score_charts import first_signal
from demur.report.class_map_lines import profile_lines, silent_sentence
from demur.report.condition_bands import bands
from demur.report.condition_lines import other
from demur.report.coverage_words import condition_lever, step_lines, team_name, team_sentence
from demur.report.detection_lines import blind_sentences, detection_blocks, fusion_sentence, point_advice
from demur.report.effort_words import effort_lines, effort_notes
from demur.report.first_screen import FirstScreen
from demur.report.glossary import GLOSSARY
from demur.report.guard_attack_lines import attacker_lines, guard_parts_lines
from demur.report.overhead_words import overhead_groups, overhead_place
from demur.report.perturbation_words import (
    change,
    count_sentence,
    curve_words,
    difference_interval,
    magnitude,
    median_sentence,
    perturbation_size,
    quantile_interval,
    reliance_sentence,
    search_name_words,
    size_words,
)
from demur.report.picture_panel import has_errors_of, panel
from demur.report.short_titles import points_title, title
from demur.report.state_words import reportable
from demur.report.vega_script import vega_script

CONTENTS = (
    ("breaks", "What breaks it"),
    ("making", "How it was made"),
    ("guarantees", "Guarantees"),
    ("accuracy", "Accuracy"),
    ("risk-coverage", "Risk and coverage"),
    ("coverage", "Where the coverage goes"),
    ("signals", "Uncertainty signals"),
    ("detection", "Detection of attacks"),
    ("class-maps", "Feature maps of the classes"),
    ("scores", "Uncertainty of right and wrong answers"),
    ("calibration", "Calibration"),
    ("conditions", "Corruptions and other conditions"),
    ("unknown", "Images of none of the classes"),
    ("attacks", "Adversarial attacks"),
    ("guard-attack", "The guard under attack"),
    ("epsilon", "Minimal perturbations"),
    ("attribution", "Attribution"),
    ("trust", "Components of trust"),
    ("lipschitz", "Lipschitz bounds"),
    ("proof", "Found and proven"),
    ("smoothed", "Proven under noise"),
    ("overhead", "Latency and overhead"),
    ("effort", "Planned and spent"),
    ("classes", "Classes"),
    ("direction", "Misses and false alarms"),
    ("team", "Model and person together"),
    ("slices", "Slices"),
    ("confusion", "Confusion matrix"),
    ("labels", "Label quality"),
    ("policies", "Policies"),
    ("checks", "Checks of the measurement"),
    ("preprocessing", "Preprocessing"),
    ("gallery", "Most confident errors"),
    ("wrong-labels", "Labels that may be wrong"),
    ("glossary", "Glossary"),
    ("raw", "Raw numbers"),
)
FILTERS = {
    name: getattr(phrases, name)
    for name in (
        "at_most",
        "complement",
        "count",
        "decimal",
        "duration",
        "frequency",
        "headed",
        "measure",
        "percent",
        "pixel_words",
        "cost_words",
        "plural",
        "readable",
        "signed",
        "plain_name",
        "scaled_words",
        "significant",
        "spread_words",
        "unbroken",
    )
}
FILTERS |= {
    function.__name__: function
    for function in (
        attack_groups,
        attacker_lines,
        bands,
        blind_sentences,
        breaking_lines,
        breaking_rule,
        by_chance,
        change,
        median_sentence,
        reliance_sentence,
        magnitude,
        size_words,
        detection_blocks,
        difference_interval,
        effort_lines,
        effort_notes,
        fusion_sentence,
        guard_parts_lines,
        overhead_groups,
        overhead_place,
        perturbation_size,
        point_advice,
        profile_lines,
        proof_lines.proven_class_share,
        proof_lines.proven_class_size,
        proof_lines.proven_images,
        proof_lines.proven_share,
        proof_lines.proven_size_interval,
        proof_lines.proven_size_percent,
        quantile_interval,
        search_name_words,
        count_sentence,
        condition_lever,
        step_lines,
        team_name,
        team_sentence,
        curve_words,
        points_title,
        silent_sentence,
        size_interval,
        size_percent,
        stage_lines,
        title,
    )
}


def page(results: Results, first: FirstScreen) -> str:
    """The whole report as one HTML document."""
    raw = "" if results.is_large else _raw(results)
    results = reportable(results)
    scripts = {"library": vega_script(), "behaviour": "\n".join(map(asset, ("pictures.js", "report.js")))}
    shown, at = start(results)
    placed = tuple(figure for figure in placed_figures(results) if figure.section != ALONE)
    return (
        environment()
        .get_template("report.html")
        .render(
            results=results,
            first=first,
            drawings={**drawings(results), **{figure.drawing.name: figure.drawing for figure in placed}},
            placed=by_section(placed),
            pictures=panel(results),
            worst_label=_worst_label(results),
            shown=shown,
            at=at,
            curves=_curves(results, shown, at),
            raw=raw,
            listed=_listed(results),
            histogram_shown=first_signal(results) if results.histograms else None,
            contents=_contents(results),
            purpose=declarations(results.purpose),
            missing=MISSING,
            glossary=GLOSSARY,
            style="\n".join(asset(name) for name in ("style.css", "conditions.css", "first.css")),
            scripts=scripts,
            script_hashes=[digest(text) for text in scripts.values()],
        )
    )


def _worst_label(results: Results) -> int | None:
    """The place among the classes of the one that looks worst; None where no picture of its errors was kept."""
    name = None if results.worst_class is None else results.worst_class.row.name
    label = next((at for at, own in enumerate(results.classes) if own == name), None)
    if label is None:
        return None
    found = None if results.figures is None else results.figures.pictures
    return label if has_errors_of(found, label) else None


def _contents(results: Results) -> tuple[tuple[str, str], ...]:
    """The sections there is something to show in; gates come first."""
    left_out = {
        name
        for name, there in (
            ("breaks", results.breaks and results.breaks.tried),
            ("guarantees", _more_than_one_line(results)),
            ("attacks", results.attacks),
            ("guard-attack", results.guard_attack),
            ("detection", results.detections),
            ("class-maps", results.class_maps),
            ("coverage", results.coverage_loss),
            ("unknown", results.unknown),
            ("team", results.team),
            ("epsilon", results.epsilon),
            ("attribution", results.attribution),
            ("trust", results.trust),
            ("lipschitz", results.lipschitz),
            ("proof", results.proof),
            ("smoothed", results.smoothed),
            ("overhead", results.overhead),
            ("effort", results.effort),
            ("direction", results.direction or results.cost),
            ("slices", results.slices),
            ("labels", results.label_quality),
            ("preprocessing", results.preprocessing),
            ("wrong-labels", results.wrong_labels),
        )
        if not there
    }
    shown = tuple((name, title) for name, title in CONTENTS if name not in left_out)
    return (("gates", "Gates"), *shown) if GateTally.of(results) else shown


def _more_than_one_line(results: Results) -> bool:
    """Whether there is more to say of guarantees than the headline does: several, parts, groups, a weaker statement."""
    made = results.guarantee
    return len(results.guarantees) > 1 or bool(results.average_loss or (made and (made.parts or made.weighting)))


def _listed(results: Results) -> tuple[ClassRow, ...]:
    """The classes that the table of classes shows: all up to 50, else the worst."""
    if len(results.per_class) <= MANY:
        return results.per_class
    return worst_first(results.per_class, results.worst_class.by if results.worst_class else "accuracy")[:MANY]


def drawings(results: Results) -> Mapping[str, Drawing]:
    """The charts there is something to draw for, by name."""
    found = [
        risk_coverage_chart(results) if results.curves else None,
        histogram_charts(results) if results.histograms else None,
        reliability_chart(results) if any(bin_.n for bin_ in results.calibration.bins) else None,
        coverage_chart(results),
        against_eps(results),
        None if results.corruption_map else against_severity(results),
        *part_charts(results),
        *perturbation_charts(results),
    ]
    return {drawing.name: drawing for drawing in found if drawing}


@cache
def asset(name: str) -> str:
    """A text file of this package."""
    return files("demur.report").joinpath("templates", name).read_text(encoding="utf-8").strip()


@cache
def environment() -> jinja2.Environment:
    """How templates of this package are read."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("demur.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS, measured=gate_value)
    environment.filters["other"] = other
    environment.tests["undefined_number"] = _undefined
    environment.tests["minimal_points"] = is_minimal
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "sort_keys": False, "separators": (",", ":")}
    return environment


def _undefined(quantity: Quantity) -> bool:
    return not math.isfinite(quantity.value)


def _curves(results: Results, shown: str, at: int) -> Mapping[str, list[list[float]]]:
    """The points of every curve; the one the slider starts at is the certified point itself, where there is one.

    The threshold of a certificate lies between two points of the curve, and a page must say one value of it.
    """
    rows = {
        curve.signal: [(point.threshold, point.coverage, point.risk) for point in curve.points]
        for curve in results.curves
    }
    made = results.guarantee
    if made and made.test_n and made.threshold is not None and made.second is None and made.signal == shown:
        rows[shown][at] = (made.threshold, made.coverage.value, made.test_risk.value)
    return {signal: [[float(f"{v:.6g}") for v in row] for row in points] for signal, points in rows.items()}


def _raw(results: Results) -> str:
    gone = {"thumb": None}
    pictures = tuple(picture.model_copy(update=gone) for picture in results.gallery)
    suspects = results.wrong_labels and results.wrong_labels.model_copy(
        update={"images": tuple(image.model_copy(update=gone) for image in results.wrong_labels.images)}
    )
    maps = results.attribution and _without_pictures(results.attribution)
    figures = results.figures and results.figures.model_copy(update={"pictures": None})
    gone_too: dict[str, Any] = {"attribution": maps, "figures": figures, "severity_thumbs": {}}
    without = results.model_copy(update={"gallery": pictures, "wrong_labels": suspects, **gone_too})
    return without.model_dump_json(indent=1)


def _without_pictures(found: Attribution) -> Attribution:
    """The maps without their pictures, which are on the page already."""
    gone = {"image": None, "overlay": None}
    maps = [(row, tuple(picture.model_copy(update=gone) for picture in row.pictures)) for row in found.maps]
    return found.model_copy(
        update={"maps": tuple(row.model_copy(update={"pictures": pictures}) for row, pictures in maps)}
    )


def digest(script: str) -> str:
    """The hash by which the page's policy lets one inline script run, and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
