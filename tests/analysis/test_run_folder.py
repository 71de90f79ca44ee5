"""Columns of records that may not be there, and the places of classes."""

import math

import numpy as np
import polars as pl
import pytest

from demur.analysis.row_means import mean_of, rows_with, values
from demur.metrics.class_ranking_test import class_ranks

ROWS = pl.DataFrame(
    {"sample_id": list("abcdefgh"), "group": [None] * 8, "x": [1.0, None, 3.0, 4.0, math.nan, 6.0, 7.0, 9.0]}
)


def test_what_was_not_measured_is_not_a_number():
    np.testing.assert_array_equal(values(ROWS, "x"), [1, np.nan, 3, 4, np.nan, 6, 7, 9])
    missing = values(ROWS, "y")
    assert missing.dtype == np.float64
    assert missing.shape == (8,)
    assert np.isnan(missing).all()


def test_rows_without_a_number_are_left_out():
    assert rows_with(ROWS, "x")["sample_id"].to_list() == list("acdfgh")
    assert rows_with(ROWS, "x", "y").is_empty()
    assert rows_with(ROWS).equals(ROWS)


def test_a_mean_is_of_the_measured_rows_and_has_an_interval_from_ten_on():
    found = mean_of(pl.concat([ROWS, ROWS]).with_columns(sample_id=pl.int_range(pl.len()).cast(pl.String)), "x")
    assert (found.value, found.n, found.unit, found.reason) == (5, 12, "image", None)
    assert found.low < 5 < found.high
    few = mean_of(ROWS, "x")
    assert (few.value, few.n, few.reason) == (5, 6, "no 95 % interval from 6 images, only from 10")
    assert np.isnan([few.low, few.high]).all()
    none = mean_of(ROWS, "y")
    assert np.isnan(none.value)
    assert none.n == 0
    assert none.reason != few.reason


@pytest.mark.parametrize(("largest", "places"), [(False, [4, 1, 2, 2, None, None]), (True, [1, 4, 2, 2, None, None])])
def test_ties_share_the_better_place_and_few_images_have_none(largest, places):
    given = [0.9, 0.1, 0.5, 0.5, math.nan, 0.0]
    assert class_ranks(given, [6, 7, 8, 9, 9, 5], largest=largest) == places


def test_a_class_alone_has_no_rank():
    assert class_ranks([0.1, 0.5, 0.9], [9, 5, 5]) == [None, None, None]
    assert class_ranks([0.1, 0.5, 0.9], [9, 6, 5]) == [1, 2, None]
