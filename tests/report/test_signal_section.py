"""The section on signals says who beats the baseline, and draws parts and corruptions where there are any."""

import pytest

from demur.analysis.accuracy.overall import CorruptionMap, CorruptionRow
from demur.analysis.signals.components import PartRow, Roc
from demur.analysis.signals.decision_tables import Rejection
from demur.analysis.signals.ranking_targets import Contest
from demur.report import render
from demur.report.charts import part_charts
from demur.report.page import drawings
from tests.report.detail_tables import thumb
from tests.report.example_results import SIGNALS, run
from tests.report.parsed_page import Page
from tests.report.simulated_scores import near, share

LAYERS, MUTANTS, SQUEEZERS = "activation_entropy", "label_change_rate(stopping='never')", "feature_squeezing"


def contest(target, better=(), sentence="No signal beats the baseline here."):
    return Contest(target=target, candidates=4, better=better, blind=(), worse=(), sentence=sentence)


def heat(classes_of_imagenet=False):
    rows = (
        CorruptionRow(family="fog", accuracy=(share(0.9, 500), None, share(0.4, 500), None, None), thumb=thumb(1)),
        CorruptionRow(family="gaussian_noise", accuracy=(None, None, share(0.7, 500), None, None), thumb=None),
    )
    errors = {"mean_corruption_error": 76.7, "relative_corruption_error": 105.0} if classes_of_imagenet else {}
    empty = {"mean_corruption_error": None, "relative_corruption_error": None}
    return CorruptionMap(rows=rows, mean=0.667, original=thumb(0), **(empty | errors))


def part(signal, made_of, name, target="error", value=0.7):
    return PartRow(signal=signal, component_kind=made_of, target=target, part=name, auroc=near(value, 0.02))


@pytest.fixture
def rich():
    results = run("issued")
    corrected = [
        row.model_copy(update={"corrected_gain": row.gain, "beats": row.gain is not None and row.gain.low > 0})
        for row in results.signals[1].targets
    ]
    signals = [signal.model_copy(update={"passes": 0.0, "milliseconds": 0.02}) for signal in results.signals]
    signals[1] = signals[1].model_copy(update={"targets": tuple(corrected), "passes": 3.0, "fit_images": 496})
    signals[3] = signals[3].model_copy(update={"ranks_as": "msp"})
    rates = {row.condition: share(0.3, 400) for row in results.conditions}
    return results.model_copy(
        update={
            "signals": tuple(signals),
            "contests": (contest("error"), contest("shift", ("energy",), "energy beats the baseline here.")),
            "rejections": tuple(
                Rejection(signal=s, clean_rate=0.3, threshold=1.0, abstention_rates=rates) for s in SIGNALS
            ),
            "corruption_map": heat(),
            "parts": (
                *(part(LAYERS, "layers", name, target) for target in ("error", "shift") for name in ("one", "two")),
                *(part(MUTANTS, "mutants", str(count)) for count in (1, 10, 100)),
                part(SQUEEZERS, "squeezers", "bits"),
            ),
            "rocs": (
                Roc(signal=SQUEEZERS, target="error", part="bits", points=((0, 0), (0.1, 0.5), (1, 1))),
                Roc(signal=SQUEEZERS, target="attack", part="bits", points=((0, 0), (0.2, 0.3), (1, 1))),
            ),
        }
    )


def test_who_beats_the_baseline_is_said_of_every_target(rich):
    page = Page(render(rich))
    assert page.faults == []
    assert "No signal beats the baseline here. 4 signals were compared at once." in page.text
    assert "energy beats the baseline here." in page.text


def test_signals_that_rank_alike_have_one_row(rich):
    text = Page(render(rich)).text
    assert "and margin, which ranks alike" in text
    section = render(rich).partition('<section id="signals"')[2].partition("<details>")[0]
    assert section.count('scope="row"') == 4 * (len(SIGNALS) - 1)


def test_prices_and_fitted_signals_are_marked(rich):
    text = Page(render(rich)).text
    assert "3 passes, <0.1 ms" in text
    assert "fitted signals are scored on the test split, where msp has AUROC 0.921" in text


def test_only_a_corrected_gain_is_coloured(rich):
    html = render(rich)
    assert 'class="num worse"' in html
    uncorrected = rich.model_copy(update={"signals": run("issued").signals})
    assert 'class="num worse"' not in render(uncorrected)


def test_the_map_of_corruptions_takes_the_place_of_the_lines(rich):
    html = render(rich)
    text = Page(html).text
    assert "Corruption by corruption" in text
    assert html.count('alt="fog"') == 1
    assert 'alt="gaussian noise"' not in html
    assert "--part: 0.4" in html
    assert "AlexNet" not in text
    assert "accuracy-severity" not in drawings(rich)
    assert "accuracy-severity" in drawings(run("issued"))


def test_a_corruption_error_names_its_reference(rich):
    text = Page(render(rich.model_copy(update={"corruption_map": heat(classes_of_imagenet=True)}))).text
    assert "Mean corruption error 76.7, relative 105.0, in hundredths of AlexNet's on the published files" in text


@pytest.mark.parametrize("signals", [1, 40])
def test_what_signals_decline_has_its_longer_side_down(rich, signals):
    template = rich.rejections[0]
    many = tuple(template.model_copy(update={"signal": f"s{at}"}) for at in range(signals))
    html = render(rich.model_copy(update={"rejections": many}))
    assert Page(html).faults == []
    assert ('<tr><th scope="row">s0</th>' in html) is (signals > len(rich.conditions))


def test_each_parted_signal_has_a_drawing_with_its_own_words(rich):
    found = part_charts(rich)
    assert [drawing.name for drawing in found] == ["parts-0", "parts-1", "parts-2"]
    layers, mutants, squeezers = found
    assert [row["part"] for row in layers.spec["datasets"]["rows"]] == ["one", "two"] * 2
    assert [row["part"] for row in mutants.spec["datasets"]["rows"]] == [1, 10, 100]
    assert {row["hits"] for row in squeezers.spec["datasets"]["rows"]} == {0, 0.3, 1}, "attacks before errors"
    assert "attacks, worst point" in squeezers.alt
    assert part_charts(run("issued")) == ()
