"""Maps against marked objects: as published where there is a cell per pixel, by areas where cells are coarse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.attribution.map_shapes import SIZES, hot, noise, uniform

from demur.attribution.localisation import LOCALISATIONS, localisation

EVERY = pytest.mark.parametrize("size", SIZES, ids=str)


def box(size, top, left, bottom, right, rows=1):
    mask = torch.zeros(rows, *size, dtype=torch.bool)
    mask[:, top:bottom, left:right] = True
    return mask


def published(heat, mask):
    """The definitions for one value per pixel, in loops; values must differ."""
    values, marked = heat.flatten().tolist(), mask.flatten().tolist()
    order = sorted(range(len(values)), key=lambda at: -values[at])
    size = sum(marked)
    region = [value >= 0.2 * max(values) for value in values]
    both = sum(a and b for a, b in zip(region, marked, strict=True))
    either = sum(a or b for a, b in zip(region, marked, strict=True))
    return {
        "pointing": float(marked[order[0]]),
        "energy": sum(v for v, m in zip(values, marked, strict=True) if m) / sum(values),
        "iou": both / either,
        "rank_accuracy": sum(marked[at] for at in order[:size]) / size,
        "covered": size / len(values),
    }


@EVERY
@pytest.mark.parametrize("seed", range(4))
def test_with_a_cell_per_pixel_all_is_as_published(size, seed):
    heat = noise(3, *size, seed=seed).double()
    mask = noise(3, *size, seed=seed + 9) > 0.1
    found = localisation(heat, mask)
    for row in range(3):
        for name, expected in published(heat[row], mask[row]).items():
            assert float(found[name][row]) == pytest.approx(expected, rel=1e-9), name


@pytest.mark.parametrize(("grid", "times"), [((4, 4), 8), ((3, 5), 7), ((7, 7), 2)], ids=str)
def test_coarse_cells_count_as_if_each_pixel_had_its_cells_value(grid, times):
    heat = noise(4, *grid).double()
    pixels = heat.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
    mask = box(pixels.shape[1:], 1, 2, 3 * times - 2, 2 * times + 1, rows=4)
    coarse, fine = localisation(heat, mask), localisation(pixels, mask)
    for name in coarse:
        torch.testing.assert_close(coarse[name], fine[name], rtol=1e-9, atol=1e-12, msg=name)


@EVERY
def test_a_uniform_map_gets_the_share_that_is_marked(size):
    mask = noise(4, 64, 48) > 0.3
    found = localisation(uniform(*size).expand(4, -1, -1), mask)
    covered = mask.double().mean(dim=(1, 2))
    for name, values in found.items():
        torch.testing.assert_close(values, covered, rtol=1e-9, atol=0, msg=name)


def test_a_map_that_is_the_mask_gets_full_marks():
    mask = box((8, 8), 2, 1, 6, 5)
    found = localisation(mask.float(), mask)
    assert all(float(found[name][0]) == 1 for name in LOCALISATIONS)
    wrong = localisation((~mask).float(), mask)
    assert all(float(wrong[name][0]) == 0 for name in LOCALISATIONS)


def test_a_cell_that_is_marked_in_part_is_hit_in_part():
    mask = box((32, 32), 0, 0, 4, 8)
    found = localisation(hot(4, 4), mask)
    assert {name: float(values[0]) for name, values in found.items()} == {
        "pointing": 0.5,
        "energy": 0.5,
        "iou": 0.5,
        "rank_accuracy": 0.5,
        "covered": 1 / 32,
    }


def test_cells_equally_hot_point_at_their_mean():
    heat = hot(4, 4) + hot(4, 4, 3, 3)
    assert float(localisation(heat, box((4, 4), 0, 0, 2, 2))["pointing"][0]) == 0.5


def test_the_region_of_the_overlap_begins_at_a_fifth_of_the_maximum():
    heat = torch.tensor([[[1.0, 0.2, 0.19, 0.0]]]).double()
    for columns, expected in [(1, 1 / 2), (2, 1), (3, 2 / 3)]:
        assert float(localisation(heat, box((1, 4), 0, 0, 1, columns))["iou"][0]) == pytest.approx(expected)


@settings(deadline=None)
@given(
    arrays.arrays(np.float32, (2, 4, 4), elements=st.floats(0, 1, width=32)),
    arrays.arrays(np.bool_, (2, 10, 6)),
)
def test_shares_lie_between_0_and_1(values, marks):
    heat, mask = torch.from_numpy(values).double(), torch.from_numpy(marks)
    defined = heat.any(dim=2).any(dim=1) & mask.any(dim=2).any(dim=1)
    for name, found in localisation(heat, mask).items():
        assert found[~defined].isnan().all(), name
        assert ((found[defined] >= 0) & (found[defined] <= 1 + 1e-9)).all(), name


@pytest.mark.parametrize("size", [(4, 4), (7, 7), (224, 224)], ids=str)
def test_place_does_not_depend_on_company(size):
    heat, mask = noise(4, *size), noise(4, 60, 50) > 0.4
    together = localisation(heat, mask)
    for rows in ([0], [3, 1]):
        alone = localisation(heat[rows], mask[rows])
        assert all(torch.equal(alone[name], together[name][rows]) for name in together)


def test_the_table_names_what_is_measured():
    assert [*LOCALISATIONS, "covered"] == list(localisation(uniform(2, 2), box((4, 4), 0, 0, 2, 2)))
    assert {uncertainty for _, uncertainty in LOCALISATIONS.values()} == {-1}
