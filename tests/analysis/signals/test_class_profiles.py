"""Silent errors and the profiles of classes, worked out again the slow way on rows made up."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter
from tests.analysis.plain_rows import auroc

from demur.analysis.file_shapes import FACTS
from demur.analysis.image_tables import image_tables
from demur.analysis.run_folder import Run
from demur.analysis.signals import class_profiles
from demur.analysis.signals.class_profiles import class_map_tables, silent_errors
from demur.analysis.signals.components import part_rows

CLASSES = ("disc", "bar", "cross")
FACTS_OF = {
    "layers": ["late"],
    "class_maps": {
        "maps": [[4, 2], [0, 3], [-1, -1]],
        "right": [[3.0, 1.0], [2.0, 0.5], [None, None]],
        "wrong": [[0.5, 0.25], [None, None], [None, None]],
        "answers": [[50, 7], [40, 0], [0, 0]],
    },
}


def rows_made_up(n=900, seed=0):
    """Wrong answers add less; one class is never answered; a few rows were not measured."""
    rng = np.random.default_rng(seed)
    predicted = rng.integers(0, 2, n)
    failed = rng.random(n) < 0.2
    added = rng.normal(size=n) - 1.5 * failed
    added[:9] = np.nan
    return pl.DataFrame(
        {
            "sample_id": [f"{at:04d}" for at in range(n)],
            "group": pl.Series([None] * n, dtype=pl.String),
            "label": np.where(failed, 2, predicted),
            "predicted": predicted,
            "signal.msp": rng.random(n) ** 3,
            "signal.conductance": rng.random(n),
            "part.conductance.class_maps": added,
            "part.conductance.completeness_error": rng.random(n),
        }
    )


def run(rows, facts=None):
    entries = [{"name": "conductance", "facts": FACTS_OF if facts is None else facts}]
    TypeAdapter(FACTS["facts/signals.json"]).validate_python(entries, strict=True)
    return SimpleNamespace(
        classes=CLASSES,
        signals=("msp", "conductance"),
        unfitted_rows=lambda: rows,
        optional_facts={"signals": entries}.get,
    )


def plain(rows):
    """Each measured row as (id, is wrong, confidence, what its maps add, answer)."""
    columns = ("sample_id", "label", "predicted", "signal.msp", "part.conductance.class_maps")
    table = rows.select(columns).rows()
    found = [(at, label != answer, 1 - msp, added, answer) for at, label, answer, msp, added in table]
    return [row for row in found if row[3] == row[3]]


def limit(measured):
    return float(np.quantile([added for _, failed, _, added, _ in measured if not failed], 0.1))


def test_silent_errors_are_confident_wrong_and_low_the_surest_first():
    rows = rows_made_up()
    (found,), measured = class_map_tables(run(rows)), plain(rows)
    low = limit(measured)
    expected = [row for row in measured if row[1] and row[2] > 0.9 and row[3] < low]
    expected.sort(key=lambda row: (-row[2], row[0]))
    assert len(expected) > 10
    assert found.low == pytest.approx(low)
    assert found.silent_errors == len(expected)
    assert [error.sample_id for error in found.errors] == [row[0] for row in expected][:50]
    assert {error.label for error in found.errors} == {"cross"}
    assert found.errors[0].class_maps == expected[0][3]


def test_what_the_limit_catches_is_said_of_wrong_and_of_right_answers():
    rows = rows_made_up()
    (found,), measured = class_map_tables(run(rows)), plain(rows)
    for shown, kind in ((found.wrong_below, True), (found.right_below, False)):
        sure = [row for row in measured if row[1] is kind and row[2] > 0.9]
        assert shown.n == len(sure)
        assert shown.value == pytest.approx(sum(row[3] < limit(measured) for row in sure) / len(sure))
    low = [[-row[3] for row in measured if row[1] is kind] for kind in (True, False)]
    assert found.auroc.value == pytest.approx(auroc(*low))
    assert found.auroc.n == len(measured)
    assert found.unmeasured == len(rows) - len(measured) == 9
    assert found.finds_errors
    even = rows.with_columns(
        pl.lit(0.1).add(pl.col("part.conductance.completeness_error")).alias("part.conductance.class_maps")
    )
    assert not class_map_tables(run(even))[0].finds_errors


def test_at_most_fifty_are_listed_and_the_file_has_all(monkeypatch):
    monkeypatch.setattr(class_profiles, "SHOWN", 3)
    rows = rows_made_up()
    (found,), (table,) = class_map_tables(run(rows)), silent_errors(run(rows))
    assert len(found.errors) == 3 < found.silent_errors == len(table)
    assert table["sample_id"].to_list()[:3] == [error.sample_id for error in found.errors]
    assert table["signal"].unique().to_list() == ["conductance"]


def test_a_class_has_its_means_its_maps_and_how_many_answers_they_are_of():
    rows = rows_made_up()
    (found,), measured = class_map_tables(run(rows)), plain(rows)
    assert [row.name for row in found.classes] == list(CLASSES)
    for label, row in enumerate(found.classes[:2]):
        for shown, kind in ((row.right, False), (row.wrong, True)):
            own = [each[3] for each in measured if each[4] == label and each[1] is kind]
            assert shown.value == pytest.approx(np.mean(own))
            assert shown.n == len(own)
    disc, bar, cross = found.classes
    assert (disc.maps, disc.right_added, disc.wrong_added) == ((4, 2), (3.0, 1.0), (0.5, 0.25))
    assert (disc.right_answers, disc.wrong_answers) == (50, 7)
    assert np.isnan(bar.wrong_added).all()
    assert cross.maps == ()
    assert (cross.right.n, cross.right.reason) == (0, "no images")


def test_a_class_without_a_spread_says_so():
    rows = rows_made_up()
    bare = rows.with_columns(
        pl.when(pl.col("predicted") == 0)
        .then(float("nan"))
        .otherwise(pl.col("part.conductance.class_maps"))
        .alias("part.conductance.class_maps")
    )
    disc, bar, _ = class_map_tables(run(bare))[0].classes
    assert (disc.right.n, disc.right.reason) == (0, "too few right answers on the fit split")
    assert bar.right.n > 0


def test_of_many_classes_those_with_most_wrong_answers_stay(monkeypatch):
    monkeypatch.setattr(class_profiles, "SHOWN", 1)
    rows = rows_made_up()
    (found,) = class_map_tables(run(rows))
    failures = [sum(row[1] for row in plain(rows) if row[4] == label) for label in range(3)]
    assert [row.name for row in found.classes] == [CLASSES[int(np.argmax(failures))]]
    assert found.classes_left_out == 2


def test_facts_without_counts_or_maps_still_read():
    rows = rows_made_up()
    old = {"class_maps": {key: value for key, value in FACTS_OF["class_maps"].items() if key != "answers"}}
    (found,) = class_map_tables(run(rows, old))
    assert found.classes[0].right_answers is None
    assert class_map_tables(run(rows, {"layers": []})) == ()
    assert class_map_tables(run(rows.drop("part.conductance.class_maps"))) == ()


def test_without_a_right_answer_there_is_no_limit_and_no_silent_error():
    rows = rows_made_up().filter(pl.col("label") != pl.col("predicted"))
    (found,) = class_map_tables(run(rows))
    assert found.low is None
    assert found.silent_errors == 0
    assert list(silent_errors(run(rows))) == []


def test_a_run_without_class_maps_has_neither_table_nor_file(folder, results):
    assert results.class_maps == ()
    assert "silent-errors.csv" not in dict(image_tables(Run(folder)))


def test_parts_that_are_maps_are_not_ranked_as_layers_are():
    """They are not parts of the score, and each has its own unit."""
    assert part_rows(SimpleNamespace(facts={"signals": [{"name": "conductance", "made_of": "maps"}]})) == ()
