"""Families of conditions: one row each, a curve from the clean images on, where the guarantee breaks."""

import pytest

from demur.report.condition_bands import bands
from tests.report.example_results import condition, run


def family(*rows, clean=0.92):
    first = condition("clean", "clean", "clean", "clean", 0, clean, 0.7, 0.01, guaranteed=True)
    return [*bands(run("issued").model_copy(update={"conditions": (first, *rows)}))]


def fog(at, right, risk):
    return condition(f"fog(severity={at})", "fog", "corruption", f"fog {at}", at, right, 0.5, risk, guaranteed=True)


def test_a_band_has_its_rows_mildest_first_and_a_falling_curve_from_the_clean_images():
    clean, band = family(fog(5, 0.3, 0.2), fog(1, 0.9, 0.01))
    assert (clean.name, clean.dots) == ("Clean", ())
    assert [row.severity for row in band.rows] == [1, 5]
    assert band.accuracy == "90.0 % to 30.0 %"
    assert [dot.x for dot in band.dots] == pytest.approx([4.0, 26.4, 116.0])
    assert [dot.y for dot in band.dots] == pytest.approx([26 - 22 * right for right in (0.92, 0.9, 0.3)], abs=0.01)
    assert [dot.state for dot in band.dots][1:] == ["holds", "broken"]


@pytest.mark.parametrize(
    ("risks", "outcome", "state"),
    [
        ((0.01, 0.012), "✔ holds", "holds"),
        ((0.01, 0.021), "? undecided", "warned"),
        ((0.01, 0.05, 0.2), "✖ breaks from severity 2", "broken"),
    ],
)
def test_a_band_says_where_the_guarantee_breaks(risks, outcome, state):
    band = family(*(fog(at, 0.9, risk) for at, risk in enumerate(risks, 1)))[1]
    assert (band.outcome, band.state) == (outcome, state)


def test_of_two_rows_of_one_size_the_curve_takes_the_lower():
    other = fog(1, 0.4, 0.05).model_copy(update={"condition": "fog(dense=true, severity=1)"})
    band = family(fog(1, 0.9, 0.01), other)[1]
    assert len(band.rows) == 2
    assert len(band.dots) == 2
    assert band.dots[1].y == pytest.approx(26 - 22 * 0.4, abs=0.01)
