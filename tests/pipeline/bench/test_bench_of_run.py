"""A benchmark that is kept in a run folder, and what a reader makes of it."""

import shutil

import pytest
from tests import tiny

from demur import seal
from demur.analysis import analyse, write_results
from demur.errors import DemurError, InputError, RunError
from demur.files import read_json, write_json
from demur.pipeline.bench import bench_of_run
from demur.pipeline.bench.bench_facts import bench
from demur.pipeline.bench.bench_of_run import BENCH, TimedRun
from demur.report import write


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return tiny.run(tmp_path_factory.mktemp("bench") / "run", conditions=("clean",))


@pytest.fixture
def run(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Of the zoo's own model, as the command finds it."""
    return bench("fashion", None, lambda _: None, signals=("msp", "knn"), batches=(1, 4), seconds=0.01)


@pytest.fixture
def own(found, run):
    """The same said of the model of the run."""
    return found | {"model_sha256": read_json(run / "run.json")["model_sha256"]}


def test_a_run_says_what_is_timed(run):
    facts, timed = read_json(run / "run.json"), TimedRun.of(run)
    assert (timed.model, timed.data, timed.seed) == (facts["model"], facts["data"], facts["seed"])
    assert timed.signals == tuple(entry["name"] for entry in facts["signals"])


def test_a_reader_finds_the_figures_of_the_benchmark(run, own):
    assert analyse(run).overhead is None
    TimedRun.of(run).keep(own)
    table = analyse(run).overhead
    assert (table.device, table.threads, table.images) == (own["device"], own["threads"], own["images"])
    assert [(row.signal, row.batch) for row in table.rows] == [(None, 1), ("msp", 1), (None, 4), ("msp", 4)]
    for row, entry in zip(table.rows, own["rows"], strict=True):
        assert (row.p50.value, row.p99.reason) == (entry["p50"]["value"], entry["p99"]["reason"])
        assert (row.throughput, row.peak, row.asks) == (entry["throughput"], entry["peak"], entry["asks"])
    assert table.rows[1].overhead.value == own["rows"][1]["overhead"]["value"]
    assert [each.signal for each in table.untimed] == ["knn"]


def test_what_was_worked_out_before_is_so_no_more_and_only_the_report_changes(run, own):
    write(run, write_results(run))
    before, page = tiny.hashes(run), (run / "report.html").read_text()
    TimedRun.of(run).keep(own)
    assert not any(seal.is_derived(name) for name in seal.read_seal(run))
    write(run, write_results(run))
    assert tiny.hashes(run) == before
    assert "Latency and overhead" in (run / "report.html").read_text()
    assert "Latency and overhead" not in page
    lines = (run / "tables" / "overhead.csv").read_text().splitlines()
    assert lines[0].startswith("signal,batch,p50,p50_low,p50_high,p50_n,p50_unit,p50_reason,")
    assert len(lines) == 1 + 4
    tiny.run(run, conditions=("clean",))  # the same audit again leaves it there
    assert analyse(run).overhead is not None


def test_a_table_of_another_model_is_refused(run, found):
    with pytest.raises(InputError, match=r"is of the model .* and what was timed is another, fashion"):
        TimedRun.of(run).keep(found)
    assert not (run / BENCH).exists()


def test_a_folder_that_is_no_finished_run_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="does not exist"):
        TimedRun.of(tmp_path)
    seal.unseal(run, [seal.MANIFEST])
    with pytest.raises(RunError, match="is not finished"):
        TimedRun.of(run)


def test_a_run_that_was_changed_is_refused(run):
    write_json(run / "facts" / "policies.json", [])
    with pytest.raises(RunError, match=r"policies\.json is not the file that was written"):
        TimedRun.of(run)


def test_a_changed_table_is_noticed_and_one_of_another_shape_named(run, own):
    TimedRun.of(run).keep(own)
    write_json(run / BENCH, own | {"threads": 8})
    with pytest.raises(DemurError, match=r"bench\.json is not the file that was written"):
        analyse(run)
    TimedRun(run, "", own["model_sha256"], "", (), 0).keep(own | {"rows": [{"name": "model"}]})
    with pytest.raises(RunError, match=r"bench\.json: rows\.0\.batch must be"):
        analyse(run)


def test_two_writers_are_refused(run, own):
    timed = TimedRun.of(run)
    with bench_of_run.locked(run), pytest.raises(RunError, match="another process"):
        timed.keep(own)
