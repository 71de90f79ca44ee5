"""The section on latency and overhead, where a benchmark was kept in the run folder."""

import math

import pytest

from demur.analysis.signals.overhead_tables import Overhead, OverheadRow, Timing, UntimedSignal
from demur.report import render
from demur.report.overhead_words import in_percent, milliseconds
from tests.report.example_results import run
from tests.report.parsed_page import Page


def timing(value, low=math.nan, high=math.nan, reason=None, n=40):
    return Timing(value=value, low=low, high=high, n=n, reason=reason)


def row(signal=None, batch=1, **changes):
    facts = {
        "signal": signal,
        "batch": batch,
        "p50": timing(0.0014, 0.0013, 0.0016),
        "p95": timing(0.0213, 0.0176, 0.0258),
        "p99": timing(0.0268, reason="no 95 % interval from 40 asks, only from 299"),
        "throughput": 1570.4,
        "overhead": timing(math.nan, n=0) if signal is None else timing(0.086, -0.02, 0.31),
        "peak": 385_000_000,
        "asks": 1940,
    }
    return OverheadRow(**(facts | changes))


def table(**changes):
    facts = {
        "device": "cpu (x86_64)",
        "threads": 1,
        "seconds": 2.0,
        "images": "256 of fashion",
        "versions": {"torch": "2.13.0"},
        "rows": (row(), row("knn"), row(batch=64), row("knn", 64, peak=None, throughput=2.46)),
        "untimed": (),
    }
    return Overhead(**(facts | changes))


def section(found):
    html = render(run("issued").model_copy(update={"overhead": found}))
    assert Page(html).faults == []
    assert ('<a href="#overhead">' in html) == (found is not None)
    return Page(html.partition('<section id="overhead"')[2].partition("</section>")[0]).text


def test_each_row_says_times_overhead_memory_and_how_often_it_was_asked():
    text = section(table())
    assert "(cpu (x86_64), 1 thread, torch 2.13.0; images: 256 of fashion)" in text
    spans = "1.4 1.3 to 1.6 21.3 17.6 to 25.8 26.8 no interval"
    assert f"One image at a time model alone {spans} 1,570 — 385 1,940 knn {spans} 1,570" in text
    assert "8.6 % −2.0 to 31.0 385 1,940 Batches of 64 images model alone" in text
    assert f"knn {spans} 2.5 8.6 % −2.0 to 31.0 — 1,940" in text


def test_why_there_is_no_interval_is_on_its_place():
    html = render(run("issued").model_copy(update={"overhead": table()}))
    assert '<small title="no 95 % interval from 40 asks, only from 299">no interval</small>' in html


def test_what_was_not_timed_is_said_with_its_reason():
    untimed = tuple(UntimedSignal(signal=name, reason="it must be fitted.") for name in ("knn", "relative_u"))
    text = section(table(untimed=(*untimed, UntimedSignal(signal="odin", reason="no gradient."))))
    assert "Not timed: knn, relative_u. It must be fitted." in text
    assert "Not timed: odin. No gradient." in text


def test_without_a_benchmark_there_is_no_section():
    assert section(None) == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0001, "0.1"), (0.9994, "999"), (1.0, "1,000"), (61.5, "61,500"), (math.nan, "—")]
)
def test_times_have_three_digits(seconds, words):
    assert milliseconds(seconds) == words


@pytest.mark.parametrize(("share", "words"), [(-0.3, "−30.0"), (-0.0001, "0.0"), (0.996, "100"), (11.9, "1,190")])
def test_shares_are_in_per_cent(share, words):
    assert in_percent(share) == words
