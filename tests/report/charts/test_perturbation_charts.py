"""Charts of how far and where: logarithmic, cut to both ends, with arrows where an end is out of sight."""

import json
import math

import numpy as np
import pytest
import vl_convert
from tests.report.attribution_results import region
from tests.report.example_results import run
from tests.report.perturbation_results import (
    CAP,
    MANY,
    NAMES,
    no_end,
    no_reach,
    one_class,
    search,
)
from tests.report.perturbation_results import far as everything
from tests.report.simulated_scores import near, undefined

from demur.report.charts import perturbation_charts
from demur.report.charts.class_charts import GAP, class_regions, class_sizes
from demur.report.charts.perturbation_charts import following, standing_chart


def results(**changes):
    return run("issued").model_copy(update=everything() | changes)


def rows_of(drawing):
    return drawing.spec["datasets"]["rows"]


@pytest.mark.parametrize("classes", [NAMES, MANY])
def test_every_chart_is_drawn_without_a_complaint(classes):
    drawings = [found for found in perturbation_charts(results(**everything(classes))) if found]
    assert [found.name for found in drawings] == [
        "epsilon-standing-linf", "epsilon-standing-l2", "epsilon-classes-0", "epsilon-confidence-0",
        "epsilon-classes-1", "epsilon-confidence-1", "attribution-classes-0", "attribution-classes-1",
    ]  # fmt: skip
    for found in drawings:
        json.dumps(found.spec, allow_nan=False)
        assert "<svg" in vl_convert.vegalite_to_svg(found.spec | {"width": 400})
        assert len(found.alt) > 20


def test_the_share_that_stands_falls_and_starts_at_the_share_right():
    drawing = next(iter(standing_chart(results())))
    for name, first in (("ray", 1 - 19 / 274), ("fmn(norm='linf')", 1 - 19 / 274)):
        own = [row for row in rows_of(drawing) if row["search"] == name]
        assert own[0]["standing"] == pytest.approx(first, abs=1e-5)
        assert all(row["eps"] > 0 for row in own)
        shares = [row["standing"] for row in own]
        assert shares == sorted(shares, reverse=True)
    assert max(row["eps"] for row in rows_of(drawing)) == pytest.approx(32, rel=1e-5)


def test_classes_are_in_order_of_rank_with_a_gap_between_both_ends():
    drawing = class_sizes(search(classes=MANY), 0)
    names = drawing.spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    by_rank = [row.name for row in sorted(search(classes=MANY).per_class, key=lambda row: row.rank or 999)][:199]
    assert names == [*by_rank[:15], GAP, *by_rank[-15:]]
    assert [row["name"] for row in rows_of(drawing)] == [*by_rank[:15], *by_rank[-15:]]


def test_an_end_out_of_sight_has_an_arrow_and_no_dot():
    sizes = {"low": [0.0] * 20 + [0.01] * 10, "high": [0.01] * 8 + [1.0] * 22, "plain": [0.002, 0.003, 0.004] * 10}
    rows = tuple(
        one_class(name, np.array(values), CAP, at, "image") for at, (name, values) in enumerate(sizes.items(), 1)
    )
    found = {row["name"]: row for row in rows_of(class_sizes(search(per_class=rows), 0))}
    assert {name: (row["dot"], row["below"], row["beyond"]) for name, row in found.items()} == {
        "low": (False, True, False),
        "high": (False, False, True),
        "plain": (True, False, False),
    }
    assert found["high"]["median"] == found["high"]["high"] == pytest.approx(32, rel=1e-4)
    assert found["high"]["text"] == "> 32/255"
    assert 0 < found["low"]["median"] < 2 * 255 * 0.001


def test_without_a_cap_the_edge_is_the_largest_change_found():
    one = search().per_class[0].model_copy(update={"median": no_end(), "lower": no_end(), "upper": no_end()})
    (row,) = rows_of(class_sizes(search(maximum=0.1, per_class=(one,)).model_copy(update={"cap": math.nan}), 0))
    assert row["median"] == row["high"] == pytest.approx(25.5)
    assert row["beyond"]
    assert not row["dot"]


def test_classes_of_one_name_keep_their_own_lines():
    rows = tuple(row.model_copy(update={"name": "crane"}) for row in search().per_class[2:5])
    names = [row["name"] for row in rows_of(class_sizes(search(per_class=rows), 0))]
    assert names == ["crane", "crane (2)", "crane (3)"]


def test_regions_are_sorted_by_their_difference_and_coloured_by_what_they_lean_on():
    rows = rows_of(class_regions(region(), 0))
    differences = [row["difference"] for row in rows]
    assert differences == sorted(differences, reverse=True)
    assert "pullover" not in {row["name"] for row in rows}
    assert {row["leans"] for row in rows} == {"object", "background", "undecided"}


def test_the_flat_beginning_of_a_confidence_curve_is_cut():
    curve = search().curve
    assert curve[0].eps == 0
    rows = rows_of(following(search(), 0))
    assert 2 < len(rows) < len(curve) - 1
    assert rows[-1]["eps"] == pytest.approx(32, rel=1e-4)


def test_nothing_to_draw_is_no_chart():
    nothing = search(per_class=(), curve=(), ecdf=(), comparisons=())
    assert [found for found in perturbation_charts(results(epsilon=(nothing,), attribution=None)) if found] == []
    lost = search().per_class[1].model_copy(update={"median": no_reach(), "rank": None})
    assert class_sizes(search(per_class=(lost,)), 0) is None
    bare = region().per_class[0].model_copy(update={"difference": undefined("few")})
    assert class_regions(region(per_class=(bare,)), 0) is None


def test_an_interval_far_wider_than_the_differences_does_not_flatten_them():
    small = [row for row in region().per_class if row.rank][:2]
    per_class = tuple(
        row.model_copy(update={"difference": near(0.1 * sign, 20.0, 8)})
        for row, sign in zip(small, (1, -1), strict=True)
    )
    rows = rows_of(class_regions(region(per_class=per_class), 0))
    assert [(row["low"], row["difference"], row["high"]) for row in rows] == [(-0.2, 0.1, 0.2), (-0.2, -0.1, 0.2)]
