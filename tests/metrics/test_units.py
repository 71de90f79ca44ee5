"""Names of groups become numbers as `numpy.unique` makes them."""

import numpy as np
import pytest

from demur.metrics.units import unit_codes

NAMES = ["b10", "", "a", "b9", "a", "ä", "b10", "a"]


@pytest.mark.parametrize("kind", [object, str])
def test_names_are_in_order_and_rows_know_their_place(kind):
    names, codes = unit_codes(np.array(NAMES, kind))
    slow, places = np.unique(np.array(NAMES), return_inverse=True)
    assert names.tolist() == slow.tolist()
    assert codes.tolist() == places.tolist()


def test_numbers_are_names_too():
    names, codes = unit_codes([7, 3, 7])
    assert (names.tolist(), codes.tolist()) == ([3, 7], [1, 0, 1])


def test_no_rows_have_no_names():
    names, codes = unit_codes(np.array([], object))
    assert len(names) == len(codes) == 0
