"""The section on preprocessing: every variant with its gain, its power, and what it is taken for."""

from demur.analysis.verdict.preprocessing_table import PreprocessingTable, VariantRow
from demur.report import render
from tests.report.example_results import run
from tests.report.parsed_page import Page
from tests.report.simulated_scores import near, share


def variant(name, gain, outcome, **changes):
    facts = {
        "name": name,
        "remedy": f"mend {name}",
        "right": share(0.6 + gain, 200),
        "accuracy": near(gain, 0.04, 200),
        "loss": near(2 * gain, 0.1, 200),
        "p_value": 0.0004,
        "detectable": 0.081,
        "outcome": outcome,
        "images": 200,
        "stopped": False,
    }
    return VariantRow(**(facts | changes))


def table(*rows, **changes):
    facts = {"images": 200, "right": share(0.6, 200), "rows": rows, "left_out": {}, "detectable": 0.081}
    return PreprocessingTable(**(facts | changes))


def section(found):
    html = render(run("issued").model_copy(update={"preprocessing": found}))
    assert Page(html).faults == []
    return html.partition('<section id="preprocessing"')[2].partition("</section>")[0]


def test_a_fault_is_named_with_what_mends_it_and_the_merely_better_is_not():
    html = section(
        table(
            variant("blue for red", 0.3, "fault"),
            variant("a crop", 0.08, "likely fault"),
            variant("bicubic", 0.02, "better"),
            variant("inverted", -0.4, "no better", images=64, stopped=True),
        )
    )
    assert "✖ fault" in html
    assert "▲ likely fault" in html
    assert "<b>blue for red</b>: mend blue for red." in html
    assert "mend bicubic" not in html
    assert "+30.0 <small>+" in html
    assert "−40.0 <small>" in html
    assert html.index("blue for red") < html.index("inverted")


def test_the_power_and_the_limits_of_the_probe_are_said():
    html = section(table(variant("bicubic", 0.0, "no better")))
    assert "A gain of 8.1 points under a variant that was asked about every image" in html
    assert "told from none four times in five" in html
    assert "no others" in html
    assert "200 tune images" in html


def test_what_was_not_tried_is_told_with_the_reason():
    html = section(table(variant("bicubic", 0.0, "no better"), left_out={"nearest": "it changes none"}))
    assert "Not tried: nearest (it changes none)." in html


def test_without_a_probe_there_is_no_section():
    assert section(None) == ""
