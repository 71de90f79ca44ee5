"""The section on the detection of attacks: every attack by name and point, who is blind, and what a fusion is worth."""

import pytest

from demur.analysis.signals.attack_detection import AttackDetection, Detection
from demur.analysis.signals.decision_tables import Rejection
from demur.analysis.signals.layer_fusion import LayerFusion
from demur.report import render
from demur.report.detection_lines import detection_blocks, fusion_sentence, point_advice
from tests.report.example_results import run
from tests.report.parsed_page import Page
from tests.report.simulated_scores import near, share

SIGNALS = ("msp", "energy", "margin")


def detection(signal, blind=False):
    return Detection(
        signal=signal,
        positives=310,
        negatives=1500,
        auroc=near(0.07, 0.02),
        fpr95=near(0.99, 0.005),
        abstention=share(0.0, 310),
        clean_abstention=share(0.05, 1500),
        blind=blind,
    )


def attack(condition, point, blind=()):
    rows = tuple(detection(signal, signal in blind) for signal in SIGNALS)
    flatters = point in {"first", "nearest"}
    return AttackDetection(
        condition=condition, point=point, flatters=flatters, knowledge="knew the whole model", signals=rows
    )


@pytest.fixture
def rich():
    results = run("issued")
    signals = [signal.model_copy(update={"ranks_as": None}) for signal in results.signals]
    signals[3] = signals[3].model_copy(update={"ranks_as": "msp"})
    rates = {row.condition: share(0.3, 400) for row in results.conditions}
    rejections = tuple(Rejection(signal=s, clean_rate=0.25, threshold=1.0, abstention_rates=rates) for s in SIGNALS)
    found = (attack("pgd(eps=0.1)", "first"), attack("fgsm(eps=0.1)", "worst", ("msp", "margin")))
    return results.model_copy(update={"signals": tuple(signals), "detections": found, "rejections": rejections})


def section(results):
    html = render(results)
    assert Page(html).faults == []
    return Page(html.partition('<section id="detection"')[2].partition("</section>")[0]).text


def test_every_attack_says_its_point_and_what_the_attacker_knew(rich):
    text = section(rich)
    assert "PGD, change up to 0.1 first success, which flatters the detector; the attacker knew the whole model" in text
    assert "FGSM, change up to 0.1 worst point; the attacker knew the whole model and not the signal" in text
    assert "310, 1,500" in text
    assert "above the threshold at which 25.0 % of clean tune images are" in text


def test_a_blind_signal_is_named_and_marked(rich):
    text = section(rich)
    assert "msp is blind to FGSM, change up to 0.1: fewer fooled images are abstained on than clean ones." in text
    assert text.count("✖ blind") == 1, "margin ranks as msp does and has no row"
    assert "blind to PGD" not in text


def test_attacks_that_flatter_come_last_and_ranks_alike_are_left_out(rich):
    blocks = detection_blocks(rich)
    assert [block.title for block in blocks] == ["FGSM, change up to 0.1", "PGD, change up to 0.1"]
    assert [row.signal for row in blocks[0].rows] == ["msp", "energy"]
    assert blocks[0].size == 3


def test_a_plan_of_flattering_attacks_alone_is_told_what_is_missing(rich):
    assert point_advice(rich) is None
    assert "keep='worst'" not in section(rich)
    only = rich.model_copy(update={"detections": rich.detections[:1]})
    assert "Add one that goes on, with keep='worst', before a signal" in section(only)
    beside = only.model_copy(update={"detections": (*only.detections, attack("fgsm(eps=0.1)", "only"))})
    assert point_advice(beside) is not None
    assert point_advice(beside.model_copy(update={"detections": beside.detections[1:]})) is None


def test_many_attacks_are_folded(rich):
    many = rich.model_copy(update={"detections": rich.detections * 7})
    assert "All 14 attacks" in section(many)
    assert "All 2 attacks" not in section(rich)


def test_without_attacks_there_is_no_section():
    assert 'id="detection"' not in render(run("issued"))


def fusion(**changes):
    facts = {
        "signal": "activation_entropy(fusion='learned')",
        "layers": ("layer1", "layer2"),
        "images": 496,
        "errors": 41,
        "held_out_auroc": 0.644,
        "layer_auroc": (0.5, 0.612),
        "beats_its_layers": True,
        "mutual_information": ((2.0, 0.73), (0.73, 2.0)),
    }
    return LayerFusion(**(facts | changes))


def test_a_fusion_says_whether_it_is_worth_more_than_its_best_layer(rich):
    better = (
        "The fusion ranks images it was not trained on better than its best layer: AUROC 0.64 against 0.61 of layer2, "
        "on 41 errors among 496 images of the fit split, without intervals. Most in common have layer1 and layer2, "
        "0.73 nats, which a fusion cannot gain from."
    )
    assert fusion_sentence(fusion()) == better
    worse = fusion(held_out_auroc=0.6, beats_its_layers=False)
    assert "no better than its best layer: AUROC 0.60 against 0.61" in fusion_sentence(worse)
    mean = fusion(held_out_auroc=None, layer_auroc=(), beats_its_layers=None)
    assert fusion_sentence(mean).startswith("Most in common have")
    assert better in Page(render(rich.model_copy(update={"fusions": (fusion(),)}))).text
