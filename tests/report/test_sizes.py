"""The examples of the sizes are their tests."""

import doctest

from demur.report import sizes


def test_the_examples_hold():
    result = doctest.testmod(sizes)
    assert result.attempted > 8
    assert result.failed == 0
