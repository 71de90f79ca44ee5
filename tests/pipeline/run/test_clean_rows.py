"""What is fixed by clean rows is fixed by few columns of them, and the logits are those of the records."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests import tiny
from tests.analysis import factory_runs

from demur.classifier import BoundClassifier
from demur.pipeline.job import DIED
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.clean_rows import clean_rows, columns_of, stored_logits
from demur.pipeline.run.loop import lost_rows
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.records import read


def job_of(run, source, model):
    return prepared_job(read_plan(run / "plan.toml", (), {}), StandIns(source=source, classifier=model), len)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An audit of images of which two cannot be read."""
    source = tiny.Broken(tiny.source(), {3, 700})
    run = tiny.run(tmp_path_factory.mktemp("clean") / "run", source, conditions=("clean",))
    return run, job_of(run, source, tiny.classifier())


def test_no_logit_and_nothing_that_nobody_asks_for_is_read(made):
    run, job = made
    found, whole = clean_rows(job, run), read(run, "clean")
    signals = [name for name in whole.columns if name.startswith("signal.")]
    assert set(found.columns) == {"sample_id", "split", "label", "group", "predicted", "error", *signals}
    assert found.equals(whole.select(found.columns))
    assert found.n_chunks() == 1


def test_the_logits_of_rows_that_were_answered_are_gone_through_again_and_again(made):
    run, job = made
    logits = stored_logits(job, run, clean_rows(job, run))
    answered = read(run, "clean").filter(pl.col("error").is_null())
    assert (logits.rows, logits.classes) == (tiny.ROWS - 2, 3)
    for _ in range(2):
        assert np.array_equal(np.concatenate(list(logits.read())), answered.select("^logit.*$").to_numpy())


def test_rows_that_failed_are_those_that_could_be_read(made):
    run, job = made
    assert lost_rows(job, run) == {}
    errors = tuple(None if row == 700 else error for row, error in enumerate(job.index.errors))
    found = lost_rows(replace(job, index=replace(job.index, errors=errors)), run)
    assert list(found) == [700]
    assert found[700] == columns_of(run, "clean", {"error"})["error"][700]
    assert not found[700].startswith(DIED)


def test_sites_of_a_certificate_come_along_and_other_metadata_do_not(tmp_path):
    source, policies = factory_runs.Modules(), ("certified_by_site(risk=0.3, column='site')",)
    model = BoundClassifier(tiny.Net().eval(), classes=source.classes, input_shape=source.input_shape)
    run = tiny.run(tmp_path / "run", source, model, conditions=("clean",), policies=policies)
    found = clean_rows(job_of(run, source, model), run)
    assert [name for name in found.columns if name.startswith("meta.")] == ["meta.site"]
    assert len([name for name in read(run, "clean").columns if name.startswith("meta.")]) > 1
