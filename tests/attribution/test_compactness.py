"""Compactness of maps: extremes that are known, and definitions copied in loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.attribution.map_shapes import SIZES, checkers, hot, noise, uniform

from demur.attribution.compactness import MEASURES, compactness

EVERY = pytest.mark.parametrize("size", SIZES, ids=str)


def one(heat):
    """The measures of one map."""
    return {name: float(values[0]) for name, values in compactness(heat).items()}


def slow_area(values, held):
    total, got = sum(values), 0.0
    for count, value in enumerate(sorted(values, reverse=True), 1):
        got += value
        if got >= held * total * (1 - 1e-9):
            return count / len(values)
    raise AssertionError


def slow_gini(values):
    """Half the mean absolute difference of two cells over the mean."""
    apart = sum(abs(a - b) for a in values for b in values) / len(values) ** 2
    return apart / (2 * sum(values) / len(values))


def slow_entropy(values):
    shares = [value / sum(values) for value in values]
    return -sum(p * math.log(p) for p in shares if p > 0) / math.log(len(values))


def slow_spread(plane):
    places = [(y, x) for y in range(len(plane)) for x in range(len(plane[0]))]
    mass = sum(plane[y][x] for y, x in places)
    middle = [sum(plane[place[0]][place[1]] * place[axis] for place in places) / mass for axis in (0, 1)]
    return sum(plane[y][x] * ((y - middle[0]) ** 2 + (x - middle[1]) ** 2) for y, x in places) / mass


def slow_dispersion(plane):
    return slow_spread(plane) / slow_spread([[1.0] * len(plane[0])] * len(plane))


def slow_components(plane):
    """By flooding, the cells of the half-mass region and those as hot as its coolest."""
    values = sorted((value for line in plane for value in line), reverse=True)
    edge = values[round(slow_area(values, 0.5) * len(values)) - 1]
    left = {(y, x) for y, line in enumerate(plane) for x, value in enumerate(line) if value >= edge}
    masses = []
    while left:
        flood, mass = [left.pop()], 0.0
        while flood:
            y, x = flood.pop()
            mass += plane[y][x]
            near = {(y + up, x + right) for up in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            flood += near
        masses.append(mass)
    return len(masses), max(masses) / sum(masses)


def slow(plane):
    values = [value for line in plane for value in line]
    number, largest = slow_components(plane)
    return {
        "area_50": slow_area(values, 0.5),
        "area_90": slow_area(values, 0.9),
        "gini": slow_gini(values),
        "entropy": slow_entropy(values),
        "dispersion": slow_dispersion(plane),
        "components": number,
        "largest_component": largest,
    }


@pytest.mark.parametrize("size", [size for size in SIZES if size != (32, 32)], ids=str)
@pytest.mark.parametrize("levels", [None, 5], ids=["smooth", "tied"])
def test_every_measure_is_its_definition(size, levels):
    heat = noise(6, *size, levels=levels)
    heat[:, 0, 0] += 1
    measured = compactness(heat)
    for row, plane in enumerate(heat.double().tolist()):
        for name, expected in slow(plane).items():
            assert float(measured[name][row]) == pytest.approx(expected, rel=1e-9), (name, row)


@EVERY
def test_a_uniform_map_is_as_diffuse_as_can_be(size):
    n = size[0] * size[1]
    assert one(0.3 * uniform(*size)) == pytest.approx(
        {
            "area_50": math.ceil(0.5 * n) / n,
            "area_90": math.ceil(0.9 * n) / n,
            "gini": 0,
            "entropy": 1,
            "dispersion": 1,
            "components": 1,
            "largest_component": 1,
        },
        abs=1e-9,
    )


@EVERY
def test_one_hot_cell_is_as_compact_as_can_be(size):
    n = size[0] * size[1]
    for row, column in [(0, 0), (size[0] - 1, size[1] // 2)]:
        assert one(hot(*size, row, column)) == pytest.approx(
            {
                "area_50": 1 / n,
                "area_90": 1 / n,
                "gini": 1 - 1 / n,
                "entropy": 0,
                "dispersion": 0,
                "components": 1,
                "largest_component": 1,
            },
            abs=1e-12,
        )


@EVERY
def test_two_opposite_corners_are_two_pieces_far_apart(size):
    height, width = size
    heat = hot(height, width) + hot(height, width, height - 1, width - 1)
    measured = one(heat)
    assert measured["components"] == 2
    assert measured["largest_component"] == 0.5
    expected = 3 * ((height - 1) ** 2 + (width - 1) ** 2) / (height**2 + width**2 - 2)
    assert measured["dispersion"] == pytest.approx(expected)
    assert measured["entropy"] == pytest.approx(math.log(2) / math.log(height * width))


def test_the_heavier_of_two_blobs_is_told_by_its_mass():
    heat = torch.zeros(1, 9, 9)
    heat[0, :3, :3] = 1
    heat[0, 6:8, 6:8] = 2
    measured = one(heat)
    assert measured["components"] == 2
    assert measured["largest_component"] == 9 / 17
    # Half of 17 reaches down to the ones; half of 45 does not.
    heat[0, 6:8, 6:8] = 9
    assert one(heat)["components"] == 1


def test_half_a_plane_is_half_the_area_and_half_as_uneven():
    heat = torch.zeros(1, 8, 8)
    heat[0, :, :4] = 1
    assert one(heat) == pytest.approx(
        {
            "area_50": 0.25,
            "area_90": 29 / 64,
            "gini": 0.5,
            "entropy": 1 - math.log(2) / math.log(64),
            "dispersion": (63 + 15) / (63 + 63),
            "components": 1,
            "largest_component": 1,
        }
    )


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (6, 10)], ids=str)
def test_fields_of_a_checkerboard_touch_at_their_corners(size):
    measured = one(checkers(*size))
    assert measured["components"] == 1
    assert measured["gini"] == pytest.approx(0.5)
    assert measured["dispersion"] == pytest.approx(1, abs=0.03)


def test_fields_apart_are_pieces_of_their_own():
    heat = torch.zeros(1, 9, 9)
    heat[0, ::2, ::2] = 1
    measured = one(heat)
    assert measured["components"] == 25
    assert measured["largest_component"] == pytest.approx(1 / 25)


@EVERY
def test_shuffling_cells_changes_where_they_are_and_nothing_else(size):
    heat = torch.linspace(0, 1, size[0] * size[1]).view(1, *size) ** 4
    order = torch.randperm(heat.numel(), generator=torch.Generator().manual_seed(1))
    before, after = one(heat), one(heat.flatten()[order].view_as(heat))
    for name in ("area_50", "area_90", "gini", "entropy"):
        assert after[name] == pytest.approx(before[name], rel=1e-12), name
    assert abs(after["dispersion"] - before["dispersion"]) > 0.05


@settings(deadline=None)
@given(
    arrays.arrays(
        np.float32, st.tuples(st.just(2), st.integers(2, 9), st.integers(1, 9)), elements=st.floats(0, 1, width=32)
    ),
    st.sampled_from([0.125, 3.0, 1e-6, 1e9]),
)
def test_measures_stay_in_range_and_do_not_depend_on_scale(values, scale):
    heat = torch.from_numpy(values).double()
    measured, scaled = compactness(heat), compactness(scale * heat)
    n = heat[0].numel()
    limits = {"gini": 1 - 1 / n, "dispersion": 3, "components": n}
    for name, found in measured.items():
        torch.testing.assert_close(scaled[name], found, equal_nan=True, rtol=1e-9, atol=1e-12, msg=name)
        defined = found[heat.sum(dim=(1, 2)) > 0]
        assert defined.isfinite().all(), name
        assert ((defined >= -1e-12) & (defined <= limits.get(name, 1) + 1e-9)).all(), name


@EVERY
def test_a_map_of_nothing_measures_nothing_and_harms_nobody(size):
    heat = torch.cat([torch.zeros(1, *size), noise(1, *size), torch.zeros(1, *size)])
    alone = compactness(heat[1:2])
    for name, values in compactness(heat).items():
        assert values[[0, 2]].isnan().all(), name
        assert values[1] == alone[name][0], name
    assert all(values.isnan().all() for values in compactness(torch.zeros(2, *size)).values())


def test_one_cell_has_no_entropy_and_no_dispersion():
    measured = one(torch.ones(1, 1, 1))
    assert math.isnan(measured["entropy"])
    assert math.isnan(measured["dispersion"])
    assert measured["area_50"] == 1


@pytest.mark.parametrize("size", [(4, 4), (7, 5), (224, 224)], ids=str)
def test_measures_of_a_map_do_not_depend_on_its_company(size):
    heat = noise(5, *size)
    together = compactness(heat)
    for rows in ([0], [3], [4, 1], [2, 0, 3]):
        alone = compactness(heat[rows])
        assert all(torch.equal(alone[name], together[name][rows]) for name in together)


def test_the_table_names_what_is_measured():
    assert list(compactness(uniform(4, 4))) == list(MEASURES)
    assert {uncertainty for _, uncertainty in MEASURES.values()} == {-1, 1}
    assert compactness(torch.zeros(0, 4, 4))["gini"].shape == (0,)
