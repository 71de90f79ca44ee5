"""What is known of a row besides is recorded, and only where it is known."""

import polars as pl
import pytest
from tests import tiny
from tests.analysis import factory_runs

from demur.classifier import BoundClassifier
from demur.data import build_index
from demur.errors import InputError
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.loop import run_plan
from demur.records import COLUMNS, read, validate


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return read(
        factory_runs.run(tmp_path_factory.mktemp("known") / "run", conditions__use=["gaussian_noise(severity=1)"])
    )


def test_meta_second_labels_and_weights_are_columns(table):
    source = factory_runs.Modules()
    assert table.schema["label2"] == pl.Int32
    assert table.schema["label_weight"] == pl.Float32
    assert table.schema["meta.site"] == table.schema["meta.age"] == pl.String
    for row in table.sample(50, seed=0).to_dicts():
        at = int(row["sample_id"])
        assert row["meta.site"] == source.sites[at]
        assert row["meta.age"] == (str(source.ages[at]) if at % 10 else None)
        assert row["label2"] == (source.second[at] if at % 2 else None)
        assert row["label_weight"] == 0.5 + 0.5 * (at % 2)


def test_every_condition_has_them(table):
    counts = table.group_by("condition").agg(pl.col("meta.site").count())
    assert set(counts["meta.site"]) == {factory_runs.ROWS}


def test_data_of_which_nothing_is_known_have_the_same_columns_as_ever(tmp_path):
    table = read(tiny.run(tmp_path / "run", conditions=("clean",)))
    others = [name for name in table.columns if name not in COLUMNS]
    assert all(name.startswith(("logit.", "signal.")) for name in others)


def test_an_unreadable_image_keeps_what_is_known_of_it(tmp_path):
    class Torn(factory_runs.Modules):
        """The first image cannot be read."""

        def read(self, positions):
            for row in super().read(positions):
                yield row.showing(None, "torn file") if row.sample_id == "000000" else row

    assert build_index(Torn()).errors[0] == "torn file"
    model = BoundClassifier(tiny.Net().eval(), classes=factory_runs.CLASSES, input_shape=tiny.SHAPE)
    folder = run_plan(tiny.plan(conditions=("clean",)), tmp_path / "run", tiny.Quiet(), Torn(), model)
    (row,) = read(folder).filter(pl.col("error").is_not_null()).to_dicts()
    assert row["meta.site"] is not None
    assert row["label_weight"] == 0.5
    assert row["predicted"] is None


def test_a_known_column_may_be_missing(table):
    assert validate(table.drop("meta.site", "label2"), "here").height == table.height


def test_the_direction_is_part_of_the_plan():
    plan = read_plan(
        None, ["data.positive=bag", "costs={'bag as coat' = 2, abstained = 0.1}"], {"data.prevalence": "bag=.01"}
    )
    assert plan.data.positive == "bag"
    assert plan.costs == {"bag as coat": 2.0, "abstained": 0.1}
    assert '"bag as coat" = 2.0' in plan.toml()


def test_a_cost_is_a_number():
    with pytest.raises(InputError, match="costs"):
        read_plan(None, ["costs={'bag as coat' = 'much'}"])
