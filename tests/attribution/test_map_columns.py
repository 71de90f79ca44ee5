"""What is written down of a map."""

import pytest
import torch
from tests.attribution.map_shapes import noise

from demur.attribution.compactness import MEASURES, compactness
from demur.attribution.localisation import LOCALISATIONS, localisation, map_columns
from demur.randomness import Keys

COMPACT = ["area_50", "area_90", "gini", "entropy", "dispersion", "components", "largest_component"]
PLACE = ["pointing", "energy", "iou", "rank_accuracy", "covered"]
OWNERS = ["", "uniform.", "centred.", "shuffled."]


def case(rows=4, size=(4, 5)):
    heat = noise(rows, *size)
    heat[1] = 0
    mask = noise(rows, 16, 20, seed=1) > 0.3
    marked = torch.tensor([row != 2 for row in range(rows)])
    return heat, mask, marked, Keys.of(0, [str(row) for row in range(rows)], "grad_cam")


def test_columns_are_those_agreed():
    expected = {f"explain.{owner}{name}" for owner in OWNERS for name in COMPACT + PLACE}
    fixed = {"explain.empty", "explain.height", "explain.width"}
    heat, mask, marked, keys = case()
    assert set(map_columns(heat, mask, marked, keys)) == expected | fixed
    without = map_columns(heat, None, torch.zeros_like(marked), keys)
    assert set(without) == {f"explain.{owner}{name}" for owner in OWNERS for name in COMPACT} | fixed
    assert list(MEASURES) == COMPACT
    assert [*LOCALISATIONS, "covered"] == PLACE


def test_each_column_is_the_measure_it_names():
    heat, mask, marked, keys = case()
    columns = map_columns(heat, mask, marked, keys)
    for name, values in compactness(heat).items():
        torch.testing.assert_close(columns[f"explain.{name}"], values.float(), equal_nan=True, rtol=0, atol=0)
    for name, values in localisation(heat, mask).items():
        torch.testing.assert_close(columns[f"explain.{name}"][[0, 3]], values.float()[[0, 3]], rtol=0, atol=0)
    assert columns["explain.uniform.dispersion"][0] == 1
    assert columns["explain.uniform.energy"][0] == columns["explain.covered"][0]
    assert columns["explain.shuffled.gini"][0] == columns["explain.gini"][0]
    assert columns["explain.height"].tolist() == [4] * 4
    assert columns["explain.width"].tolist() == [5] * 4


def test_a_map_of_nothing_is_counted_and_its_baselines_are_not_told():
    heat, mask, marked, keys = case()
    columns = map_columns(heat, mask, marked, keys)
    assert columns["explain.empty"].tolist() == [0, 1, 0, 0]
    for name, values in columns.items():
        if name not in {"explain.empty", "explain.height", "explain.width"}:
            assert values[1].isnan(), name
            assert values[[0, 3]].isfinite().all(), name


def test_a_row_without_a_mark_has_no_place():
    columns = map_columns(*case())
    for owner in OWNERS:
        assert all(columns[f"explain.{owner}{name}"][2].isnan() for name in PLACE)
        assert all(columns[f"explain.{owner}{name}"][2].isfinite() for name in COMPACT)


@pytest.mark.parametrize("size", [(4, 4), (7, 7), (64, 64)], ids=str)
def test_columns_do_not_depend_on_company(size):
    heat, mask, marked, keys = case(20, size)
    together = map_columns(heat, mask, marked, keys)
    for rows in ([0], [19, 1, 2]):
        alone = map_columns(heat[rows], mask[rows], marked[rows], keys.rows(rows))
        for name, values in alone.items():
            torch.testing.assert_close(values, together[name][rows], equal_nan=True, rtol=0, atol=0, msg=name)
            assert values.dtype == torch.float32
