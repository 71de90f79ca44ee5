"""What is left of groups when their lines were added up is what the groups themselves say."""

import numpy as np
import polars as pl
import pytest

from demur.analysis.aggregates import group_lines
from demur.analysis.aggregates.group_lines import Choice, GroupLines, View
from demur.analysis.aggregates.group_views import GroupShares
from demur.metrics.unit_sums import UnitSums
from demur.metrics.units import id_hashes

ROWS = 900
VIEWS = (
    View("rows", ("split", "wrong", "fooled")),
    View("classes", ("label", "split", "wrong"), by=("label",)),
    View("pairs", ("label", "predicted"), by=("label",), whole=True),
)


@pytest.fixture(scope="module", params=[3, 40], ids=["small groups", "large groups"])
def rows(request):
    draw = np.random.default_rng(4)
    groups = draw.integers(0, ROWS // request.param, ROWS)
    labels = np.where(draw.random(ROWS) < 0.6, groups % 3, draw.integers(0, 3, ROWS))
    answers = np.where(draw.random(ROWS) < 0.7, labels, draw.integers(0, 3, ROWS))
    return pl.DataFrame(
        {
            "sample_id": [f"{at:04d}" for at in range(ROWS)],
            "group": pl.Series([None if at % 9 == 0 else f"lot {group}" for at, group in enumerate(groups)]),
            "split": np.array(["tune", "certify", "test"])[groups % 3],
            "label": labels,
            "predicted": answers,
            "fooled": draw.random(ROWS) < 0.3,
            "site": pl.Series([None if at % 7 == 0 else "ab"[at % 2] for at in range(ROWS)]),
        }
    ).with_columns(
        unit=pl.coalesce("group", pl.concat_str(pl.lit("image "), "sample_id")),
        wrong=pl.col("predicted") != pl.col("label"),
    )


@pytest.fixture(scope="module")
def counted(rows):
    """Read in five parts, merged in several."""
    lines = GroupLines(VIEWS, [Choice("all"), Choice("class", ("label",)), Choice("site", ("site",))])
    for part in np.array_split(np.random.default_rng(5).permutation(ROWS), 5):
        found = rows[part]
        lines.add(found.select("split", "label", "predicted", "fooled", "site"), found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_lines, "_TOGETHER", 200)
        table, groups = lines.counted()
    return table, groups.named(pl.lit("clean").alias("condition"))


def test_rows_are_counted_by_what_they_are(rows, counted):
    columns = ["split", "label", "predicted", "fooled", "site"]
    assert counted[0].equals(rows.group_by(columns).agg(count=pl.len().cast(pl.Int64)).sort(columns))


@pytest.mark.parametrize(
    ("view", "among", "flagged"),
    [
        ("rows", (), (~pl.col("fooled"),)),
        ("rows", (pl.col("split") == "test",), (pl.col("wrong"),)),
        ("rows", (pl.col("split") != "tune", pl.col("fooled")), (~pl.col("wrong"),)),
        ("rows", (pl.col("wrong"), ~pl.col("wrong")), (pl.col("fooled"),)),
        ("classes", (pl.col("label") == 1, pl.col("split") == "test"), (pl.col("wrong"),)),
        ("classes", (pl.col("label") == 2, pl.col("wrong")), (pl.col("split") == "tune",)),
        ("pairs", (pl.col("label") == 0,), (pl.col("predicted") == 2,)),
        ("pairs", (pl.col("label") == 2,), (pl.col("predicted") == 0,)),
    ],
)
def test_sums_are_those_of_the_rows(rows, counted, view, among, flagged):
    own = rows.filter(*among)
    flags = own.select(pl.all_horizontal(*flagged)).to_series().to_numpy()
    found = GroupShares(counted[1], "clean", view).sums(len(own), int(flags.sum()), among, flagged)
    assert found == UnitSums.of(flags, own["unit"].to_numpy())


@pytest.mark.parametrize(("choice", "by"), [("all", []), ("class", ["label"]), ("site", ["site"])])
def test_of_each_group_the_row_is_counted_whose_id_has_the_smallest_hash(rows, counted, choice, by):
    own = rows.filter(pl.col("split") != "tune").with_columns(
        hash=pl.Series(id_hashes(rows["sample_id"])).filter((rows["split"] != "tune").to_numpy())
    )
    chosen = [part.sort("hash")[0] for part in own.partition_by("unit", "split", *by)]
    found = counted[1].singles.filter(pl.col("choice") == choice)
    columns = ["split", "label", "predicted", "fooled", "site"]
    counts = pl.concat(chosen).group_by(columns).agg(count=pl.len().cast(pl.Int64)).sort(columns)
    assert found.select(*columns, "count").equals(counts)
