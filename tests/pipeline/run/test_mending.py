"""What was damaged in a run folder and is said to be worked out anew is worked out anew, to the byte, and sealed."""

import shutil

import pytest
from tests import tiny

from demur import seal
from demur.errors import RunError
from demur.files import JOURNAL, read_json
from demur.pipeline.plan.plan_tables import Signals
from demur.pipeline.run.kept_signals import ORIGIN
from demur.pipeline.run.mending import FIXED, POLICIES, TOLERANCES
from demur.pipeline.run.run_writer import RunWriter
from demur.records import read, shard_entries

FITTED = {
    "conditions": ("clean", "fgsm(eps=0.1)"),
    "policies": ("certified(risk=0.1)",),
    "signals": Signals(use=("relative_u",), certify="relative_u"),
    "attacked": 16,
}
ROOMS = ("facts/*", "fitted/*", "opened/*", "thumbs/*", "records/*", "*.json", "plan.toml")


def fitted(folder):
    return tiny.run(folder, tiny.source(3000), **FITTED)


def state(run):
    return {str(path.relative_to(run)): path.read_bytes() for room in ROOMS for path in run.glob(room)}


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("audited") / "run")


@pytest.fixture
def copy(audited, tmp_path):
    return shutil.copytree(audited, tmp_path / "run")


def damage(path, how):
    path.unlink() if how == "gone" else path.write_text(how)


@pytest.mark.parametrize("how", ["gone", "null", "[]"])
@pytest.mark.parametrize("name", [*FIXED, "facts/signals.json", ORIGIN, "fitted/signals.json", "fitted/tensors-*"])
def test_what_is_fitted_is_fitted_again_with_all_that_follows(audited, copy, name, how):
    (path,) = copy.glob(name)
    damage(path, how)
    fitted(copy)
    times = {"seal.json", "facts/spent.json"}
    before, now = state(audited), state(copy)
    assert {each for each in before.keys() | now.keys() if before.get(each) != now.get(each)} <= times
    assert seal.read_seal(copy).keys() == seal.read_seal(audited).keys()
    assert path.name in (copy / "log.jsonl").read_text()


@pytest.mark.parametrize("name", FIXED)
def test_a_finished_run_whose_thresholds_nothing_vouches_for_is_mended(audited, copy, name):
    """An earlier version took a damaged file out of the seal and called the run finished."""
    seal.unseal(copy, [name])
    damage(copy / name, "[]")
    fitted(copy)
    assert (copy / name).read_bytes() == (audited / name).read_bytes()
    assert seal.is_intact(copy, name)


def test_thresholds_go_by_the_fitted_signal_even_where_nothing_else_is_left_to_do(audited, copy):
    damage(copy / POLICIES, "gone")
    fitted(copy)
    (found,) = read_json(copy / TOLERANCES)
    assert found["ways"] == ["alone", "in other batches", "in float64"]


def test_a_report_needs_no_fitted_signals(copy):
    shutil.rmtree(copy / "fitted")
    assert seal.verify(copy)


def test_a_seal_that_cannot_be_read_is_begun_anew(audited, copy):
    damage(copy / seal.FILE, "null")
    fitted(copy)
    assert seal.read_seal(copy).keys() >= {*FIXED, ORIGIN, seal.MANIFEST}
    assert [(copy / name).read_bytes() for name in FIXED] == [(audited / name).read_bytes() for name in FIXED]


SMALL = {"conditions": ("clean", "low_light(severity=1)")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny.run(tmp_path_factory.mktemp("whole") / "run", tiny.source(520), **SMALL)


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """An audit that was stopped after its clean shards, which stand in the journal."""
    with monkeypatch.context() as patch:
        tiny.interrupt(patch, lambda condition: condition.name != "clean")
        with pytest.raises(KeyboardInterrupt):
            tiny.run(tmp_path / "run", tiny.source(520), **SMALL)
    return tmp_path / "run"


ODD = ["gone", "null", "3", "[3]", '"x"', '[{"a": 1}]', "{", '{"shard": "c000-s0000"}']


@pytest.mark.parametrize("odd", ODD)
def test_a_run_with_an_odd_manifest_goes_by_its_journal(stopped, whole, odd):
    rows, times = len(read(stopped, "clean")), (stopped / "records" / "c000-s0000.parquet").stat().st_mtime_ns
    damage(stopped / seal.MANIFEST, odd)
    assert len(read(stopped, "clean")) == rows
    tiny.run(stopped, tiny.source(520), **SMALL)
    assert tiny.hashes(stopped) == tiny.hashes(whole)
    assert (stopped / "records" / "c000-s0000.parquet").stat().st_mtime_ns == times


def test_a_manifest_of_another_run_is_not_gone_by(stopped, whole, tmp_path):
    other = tiny.run(tmp_path / "other", tiny.source(1100), **SMALL)
    shutil.copy(other / seal.MANIFEST, stopped / seal.MANIFEST)
    tiny.run(stopped, tiny.source(520), **SMALL)
    assert tiny.hashes(stopped) == tiny.hashes(whole)


def test_without_a_journal_a_manifest_that_lists_nothing_is_named(stopped):
    (stopped / JOURNAL).unlink()
    damage(stopped / seal.MANIFEST, "{}")
    with pytest.raises(RunError, match=r"manifest\.json lists no shards: it is another file"):
        shard_entries(stopped)
    damage(stopped / seal.MANIFEST, '[{"a": 1}]')
    assert shard_entries(stopped) == []


def test_shards_that_are_forgotten_are_listed_no_more(stopped):
    folder = RunWriter(stopped)
    folder.forget(["c000-s0001"])
    assert set(folder.shards()) == {"c000-s0000"} == {entry["shard"] for entry in shard_entries(stopped)}
