"""Files that a worker wrote into the run folder count once they are renamed, and by whoever leads the run alone."""

import pickle

import pytest
from tests import tiny

from demur.pipeline.job import Job, shards
from demur.pipeline.run.engine import Work
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.placed_shard import PlacedShard, SharedFolder
from demur.pipeline.run.placing import Placing
from demur.pipeline.run.run_writer import open_run
from demur.records import EncodedShard, read, shard_entries

NAME = "c000-s0000"


@pytest.fixture(scope="module")
def encoded(finished):
    return EncodedShard.of(read(finished, "clean"), NAME)


@pytest.fixture
def writer(tmp_path):
    with open_run(tmp_path / "run", tiny.plan()) as found:
        yield found


def hidden(run):
    return sorted(path.name for path in run.rglob(".*"))


def test_a_placed_shard_is_that_of_its_bytes(encoded, writer):
    with SharedFolder.of(writer.path) as shared:
        placed = shared.put(NAME, encoded)
        assert placed.is_there(writer.path)
        assert not (writer.path / f"records/{NAME}.parquet").exists()
        writer.add(NAME, "clean", placed)
    assert (writer.path / f"records/{NAME}.parquet").read_bytes() == encoded.records
    (entry,) = shard_entries(writer.path)
    assert (entry["shard"], entry["rows"]) == (NAME, encoded.rows)
    assert set(writer.shards()) == {NAME}
    assert hidden(writer.path) == []


def test_what_a_late_worker_placed_counts_nowhere(encoded, writer):
    with SharedFolder.of(writer.path) as shared:
        writer.add(NAME, "clean", shared.put(NAME, encoded))
        late = shared.put(NAME, encoded)
    assert late.is_there(writer.path)
    assert [entry["shard"] for entry in shard_entries(writer.path)] == [NAME]
    assert len(hidden(writer.path)) == 1


def test_a_run_that_is_opened_again_has_no_placed_files(encoded, tmp_path):
    for _ in range(2):
        with open_run(tmp_path / "run", tiny.plan()) as writer:
            assert hidden(writer.path) == []
            shared = SharedFolder(path=writer.path, token="0123456789abcdef")
            shared._file.write_text(shared.token)  # as a leader leaves it that is killed
            shared.put(NAME, encoded)
            assert len(hidden(writer.path)) == 2


def test_a_file_that_is_not_what_was_written_is_not_there(encoded, writer):
    with SharedFolder.of(writer.path) as shared:
        placed = shared.put(NAME, encoded)
    path = writer.path / "records" / placed.files[-1].name
    path.write_bytes(path.read_bytes()[:-1])
    assert not placed.is_there(writer.path)
    path.unlink()
    assert not placed.is_there(writer.path)


def test_a_folder_is_seen_by_its_token_alone(writer, tmp_path):
    with SharedFolder.of(writer.path) as shared:
        assert shared.is_seen()
        assert not SharedFolder(path=writer.path, token="0" * 32).is_seen()
        assert not SharedFolder(path=tmp_path / "elsewhere", token=shared.token).is_seen()
        assert not SharedFolder(path=writer.path, token=f"{shared.token[:8]}{'0' * 24}").is_seen()
    assert not shared.is_seen()


@pytest.fixture
def job(tmp_path):
    from demur.pipeline.run.begun import begun_run
    from demur.pipeline.run.prepare import StandIns
    from demur.pipeline.run.resources import Resources

    others = StandIns(source=tiny.source(150), classifier=tiny.classifier())
    plan = tiny.plan(conditions=("clean", "gaussian_noise(severity=1)"))
    with begun_run(plan, tmp_path / "job", tiny.Quiet(), others, Resources(threads=1)) as (found, *_):
        yield found


def test_a_whole_shard_is_placed_where_the_folder_is_seen_and_else_sent(job: Job, writer):
    task = list(shards(job))[-1]
    with SharedFolder.of(writer.path) as shared:
        duty = Placing(pickle.dumps(job), shared)
        assert duty(None) is None
        placed = duty(Work.of(task))
        piece = duty(Work.of(task.of_rows(task.rows[:9])))
    assert isinstance(placed.encoded, PlacedShard)
    assert (type(piece.encoded), piece.encoded.rows) == (EncodedShard, 9)
    sent = duty(Work.of(task))  # the leader has gone on without this folder
    assert sent.encoded == MeasuredShard.of(job, task).encoded
    placed.encoded.write(writer.path, task.name)
    assert (writer.path / f"records/{task.name}.parquet").read_bytes() == sent.encoded.records


def test_a_folder_that_cannot_be_written_gets_the_bytes_sent(job, writer, monkeypatch):
    def full(*_given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SharedFolder, "put", full)
    with SharedFolder.of(writer.path) as shared:
        found = Placing(pickle.dumps(job), shared)(Work.of(next(shards(job))))
    assert isinstance(found.encoded, EncodedShard)


def test_a_job_that_cannot_be_opened_is_told_in_a_line(writer):
    with SharedFolder.of(writer.path) as shared:
        why = Placing(b"\x80\x04cdemur.no_such_room\nNet\n.", shared)(None)
    assert why == "ModuleNotFoundError: No module named 'demur.no_such_room'"
