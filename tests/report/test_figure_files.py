"""Figures as files: each is there, can be read, and shows the numbers of the results."""

import json
import re
import struct
from xml.etree import ElementTree as ET

import altair as alt
import pytest
from jsonschema import ValidationError

from demur.analysis import analyse
from demur.report import write_figures
from demur.report.charts.class_ranking_chart import class_ranking_chart
from demur.report.figure_files import figures, print_spec
from tests import tiny

ALWAYS = {
    "accuracy-conditions",
    "accuracy-eps",
    "accuracy-severity",
    "class-ranking",
    "confusion-attack",
    "confusion-clean",
    "coverage-steps",
    "entropy-confidence",
    "entropy-correctness",
    "entropy-histogram",
    "errors",
    "histograms-entropy",
    "histograms-msp",
    "rejections",
    "reliability",
    "risk-coverage",
    "roc",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return analyse(tiny.run(tmp_path_factory.mktemp("figures") / "run"))


@pytest.fixture(scope="module")
def drawn(results):
    return {figure.drawing.name: figure for figure in figures(results)}


def rows(drawn, name):
    return drawn[name].drawing.spec["datasets"]["rows"]


def test_every_figure_of_a_plain_run_is_there(drawn):
    assert set(drawn) >= ALWAYS
    assert all(len(figure.caption) > 20 and len(figure.drawing.alt) > 20 for figure in drawn.values())


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_files_can_be_read(results, kind, tmp_path, monkeypatch):
    few = [figure for figure in figures(results) if figure.drawing.name in {"roc", "errors", "histograms-msp"}]
    monkeypatch.setattr("demur.report.figure_files.figures", lambda _: iter(few))
    paths = write_figures(tmp_path, results, kind)
    assert {path.name for path in paths} == {f"roc.{kind}", f"errors.{kind}", f"histograms-msp.{kind}", "captions.md"}
    for path in paths[:-1]:
        content = path.read_bytes()
        assert len(content) > 3000
        if kind == "svg":
            root = ET.fromstring(content)
            assert root.get("role") == "img"
            assert root[0].tag.endswith("title")
            assert root[0].text
            assert b"var(--" not in content
        elif kind == "png":
            width, height = struct.unpack(">II", content[16:24])
            assert content[:8] == b"\x89PNG\r\n\x1a\n"
            assert width > 2000
            assert height > 500
        else:
            assert content.startswith(b"%PDF-")
            assert content.rstrip().endswith(b"%%EOF")
    assert "## roc." in paths[-1].read_text("utf-8")


def test_every_drawing_is_valid_vega_lite(drawn):
    for figure in drawn.values():
        alt.LayerChart.from_dict({**figure.drawing.spec, "$schema": alt.SCHEMA_URL}, validate=True)
    with pytest.raises(ValidationError):
        alt.LayerChart.from_dict({**figure.drawing.spec, "layer": [{"mark": "no such mark"}]}, validate=True)


def test_colours_are_those_of_the_light_theme(drawn):
    for figure in drawn.values():
        text = json.dumps(print_spec(figure.drawing))
        assert "var(--" not in text
        assert '"background": "white"' in text


def test_bars_are_the_accuracies_of_the_results(drawn, results):
    found = {row["pictures"].partition(":")[2]: row for row in rows(drawn, "accuracy-conditions")}
    assert set(found) == {row.condition for row in results.conditions}
    for row in results.conditions:
        own = found[row.condition]
        assert (own["share"], own["low"], own["high"]) == pytest.approx(
            (row.accuracy.value, row.accuracy.low, row.accuracy.high), rel=1e-5
        )
    assert len({row["name"] for row in found.values()}) == len(found)


def test_rejections_are_those_of_the_shown_signal(drawn, results):
    shown = next(row for row in results.rejections if row.signal == results.guarantee.signal)
    for row in rows(drawn, "rejections"):
        assert row["share"] == pytest.approx(shown.abstention_rates[row["pictures"].partition(":")[2]].value, rel=1e-5)


def test_the_curve_and_the_points_are_those_of_the_tables(drawn, results):
    found = [(row["right"], row["wrong"]) for row in rows(drawn, "roc") if row["line"] == "msp"]
    assert found == [pytest.approx(point, abs=1e-6) for point in results.figures.rocs[0].points]
    text = json.dumps(drawn["roc"].drawing.spec)
    assert all(json.dumps(point.policy) in text for point in results.figures.operating_points)


def test_cells_are_the_counts_of_the_pairs(drawn, results):
    for name, found in zip(("confusion-clean", "confusion-attack"), results.figures.pairs, strict=True):
        counts = {(row["label"], row["answer"]): row["count"] for row in rows(drawn, name) if row["count"]}
        assert counts == {(results.classes[label], results.classes[answer]): n for label, answer, n in found.pairs}


def test_classes_stand_worst_first(drawn, results):
    found = [row["accuracy"] for row in rows(drawn, "class-ranking")]
    assert found == pytest.approx(sorted(row.accuracy.value for row in results.per_class), rel=1e-5)


def test_classes_of_few_images_have_no_place_in_the_ranking(results):
    rows = [row.model_copy(update={"n": 5 if at == 0 else row.n}) for at, row in enumerate(results.per_class)]
    ranked = class_ranking_chart(results.model_copy(update={"per_class": tuple(rows)}))
    assert {row["name"] for row in ranked.spec["datasets"]["rows"]} == {row.name for row in rows[1:]}
    none = tuple(row.model_copy(update={"n": 5}) for row in rows)
    assert class_ranking_chart(results.model_copy(update={"per_class": none})) is None


def test_quantiles_and_correlation_are_those_of_the_table(drawn, results):
    for row, spread in zip(
        rows(drawn, "entropy-correctness"), (results.figures.entropy.right, results.figures.entropy.wrong), strict=True
    ):
        assert row["middle"] == pytest.approx(spread.quantiles[2], rel=1e-5)
    rho = results.figures.entropy.correlation
    assert f"{rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})" in drawn["entropy-correctness"].caption
    assert sum(row["count"] for row in rows(drawn, "entropy-histogram")) == results.figures.entropy.correlation.n
    assert len(rows(drawn, "entropy-confidence")) == len(results.figures.entropy.points)


def test_each_histogram_is_of_one_signal_with_its_unit(drawn, results):
    for histogram in results.histograms:
        own = drawn[f"histograms-{re.sub('[^a-z0-9]+', '-', histogram.signal)}"]
        counted = own.drawing.spec["datasets"]["rows"]
        assert {row["signal"] for row in counted} == {histogram.signal}
        assert sum(row["count"] for row in counted if row["outcome"] == "wrong") == sum(histogram.wrong)
        assert own.drawing.spec["layer"][0]["encoding"]["x"]["axis"]["title"].startswith(f"{histogram.signal}, in ")
    assert "above" in json.dumps(drawn["histograms-msp"].drawing.spec)
