"""The examples of the phrases are their tests."""

import doctest

from demur.report import phrases


def test_the_examples_hold():
    result = doctest.testmod(phrases)
    assert result.attempted > 10
    assert result.failed == 0
