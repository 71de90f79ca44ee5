"""Images that follow one another: what is a warning, what voids a guarantee per image, and what is said of it."""

import shutil
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr
from tests import tiny
from tests.analysis.plain_rows import rows_of

from demur.analysis.run_folder import Run
from demur.analysis.verdict.burst_checks import bursts, neighbour_correlation
from demur.files import write_json


@pytest.fixture
def noted(folder, tmp_path):
    """A function that copies the run, with something else noted of its neighbours and, if asked, scores in order."""

    def change(*, in_order=False, **facts):
        copy = tmp_path / "run"
        shutil.copytree(folder, copy)
        found = Run(copy).optional_facts("neighbours") | facts
        write_json(copy / "facts" / "neighbours.json", found)
        if in_order:
            for path in (copy / "records").glob("c000-*.parquet"):
                table = pl.read_parquet(path)
                score = pl.Series("signal.msp", np.linspace(0, 1, len(table)))
                table.with_columns(score).write_parquet(path)
        return Run(tiny.reseal(copy))

    return change


ALIKE = {"pairs": 1000, "alike": 600, "p_value": 0.01}


def test_patterns_in_no_order_pass(folder):
    (check,) = bursts(Run(folder))
    assert (check.state, check.bears_on) == ("pass", "guarantee")
    facts = Run(folder).optional_facts("neighbours")
    assert facts["pairs"] == tiny.ROWS - 3
    assert (check.count, check.of) == (facts["alike"], facts["pairs"])


@pytest.mark.parametrize(
    ("facts", "in_order", "state"),
    [
        (ALIKE, True, "fail"),
        (ALIKE, False, "warn"),
        (ALIKE | {"alike": 500}, True, "warn"),
        (ALIKE | {"alike": 150}, False, "warn"),
        (ALIKE | {"alike": 149}, False, "pass"),
        (ALIKE | {"p_value": 0.02}, True, "pass"),
        (ALIKE | {"p_value": None}, True, "pass"),
        ({"bursts": 121}, True, "warn"),
        ({"bursts": 120}, False, "pass"),
    ],
)
def test_images_warn_and_images_with_scores_fail(noted, facts, in_order, state):
    (check,) = bursts(noted(in_order=in_order, **facts))
    assert check.state == state
    if state != "pass":
        assert "?group=" in check.sentence


def test_the_names_offer_a_pattern(noted):
    (check,) = bursts(noted(**ALIKE, series=12, pattern=r"^(.*?)[0-9]+$"))
    assert r"The names tell of 12 series: ?group=^(.*?)[0-9]+$ makes a group of each" in check.sentence


def test_times_are_named(noted):
    (check,) = bursts(noted(bursts=600))
    assert "600 images were taken within seconds of another" in check.sentence
    assert (check.count, check.of) == (600, tiny.ROWS)


def test_with_groups_nothing_is_said(tmp_path):
    groups = [f"g{row // 3}" for row in range(300)]
    folder = tiny.run(tmp_path / "run", of=tiny.source(300, groups=groups), conditions=("clean",))
    assert not (folder / "facts" / "neighbours.json").exists()
    assert list(bursts(Run(folder))) == []


def test_scores_are_compared_with_those_of_the_next_image_of_the_class(folder):
    clean = sorted(rows_of(folder, "clean"), key=lambda row: (row["label"], int(row["sample_id"])))
    pairs = [
        (one["signal.msp"], other["signal.msp"]) for one, other in pairwise(clean) if one["label"] == other["label"]
    ]
    value = spearmanr(*zip(*pairs, strict=True)).statistic
    low = neighbour_correlation(Run(folder))
    assert low < value < low + 4 / np.sqrt(len(pairs))
