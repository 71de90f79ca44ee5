"""Rows that were counted tell what rows that were held do where the guarantee has a threshold for each site."""

import shutil

import polars as pl
import pytest
from tests import tiny
from tests.analysis import factory_runs
from tests.analysis.aggregates.test_counted_results import EXACT, plain

from demur.analysis import write_results
from demur.analysis.aggregates import image_sample
from demur.files import read_json, write_json

PLAIN = {"conditions.use": factory_runs.PLAN["conditions.use"]}


@pytest.fixture(scope="module", params=[factory_runs.PLAN, PLAIN], ids=["with a positive class", "without"])
def folder(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factory_runs, "PLAN", request.param)
        policies = ["certified_by_site(risk=0.1)", "certified(risk=0.1)"]
        return factory_runs.run(tmp_path_factory.mktemp("sites") / "run", policies__use=policies)


@pytest.fixture(scope="module")
def held(folder, tmp_path_factory):
    return write_results(shutil.copytree(folder, tmp_path_factory.mktemp("held") / "run"), rows="all")


@pytest.fixture(scope="module", params=[300, 10_000])
def counted(request, folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_sample, "CLEAN_ROWS", request.param)
        patch.setattr(image_sample, "CORRUPTED_ROWS", request.param)
        return write_results(shutil.copytree(folder, tmp_path_factory.mktemp("counted") / "run"), rows="counted")


@pytest.mark.parametrize("name", EXACT)
def test_what_is_counted_is_what_the_rows_say_to_the_digit(held, counted, name):
    own, theirs = plain(getattr(counted, name)), plain(getattr(held, name))
    if name == "checks":  # those of single rows are of the sample
        own, theirs = (
            [check for check in found if check["name"] == "unseen images confirm the guarantee"]
            for found in (own, theirs)
        )
        assert len(own) == 1
    if name == "breaks":  # which says how many slices there are, and these are of the sample
        own, theirs = (found["rows"] for found in (own, theirs))
    assert own == theirs


def test_the_guarantee_is_told_at_each_site(held, counted):
    own, theirs = counted.guarantee, held.guarantee
    assert [part.name for part in own.parts] == ["Hamburg", "Leipzig"]
    assert own.test_n > sum(part.test_n for part in own.parts)
    assert plain(own.model_copy(update={"attainable": theirs.attainable})) == plain(theirs)


def test_where_sites_are_the_groups_all_images_of_a_site_count(folder, tmp_path):
    run = shutil.copytree(folder, tmp_path / "run")
    for shard in (run / "records").iterdir():
        pl.read_parquet(shard).with_columns(group=pl.col("meta.site")).write_parquet(shard)
    policies = run / "facts" / "policies.json"
    policies.write_text(policies.read_text().replace('"column": "site"', '"column": "group"'))
    write_json(run / "run.json", {**read_json(run / "run.json"), "groups": 3})
    tiny.reseal(run)
    held, counted = (write_results(run, rows=rows) for rows in ("all", "counted"))
    assert counted.guarantee.kind == "site"
    assert sum(part.test_n for part in counted.guarantee.parts) > 300 > counted.guarantee.test_n == 3
    for name in ("guarantee", "conditions", "constant", "positive", "policies", "per_class"):
        own, theirs = plain(getattr(counted, name)), plain(getattr(held, name))
        if name == "guarantee":
            own = own | {"attainable": theirs["attainable"]}
        assert own == theirs
