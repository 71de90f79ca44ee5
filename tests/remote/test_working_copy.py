"""A copy that is at every moment behind what it is a copy of, and never ahead."""

import json
import subprocess
import sys

import pytest
from tests import tiny

from demur import seal
from demur.analysis import analyse
from demur.errors import InputError, RunError
from demur.files import append_line, checked_line, locked, mirrored, remove, write_atomically
from demur.openings import FILE as OPENED
from demur.pipeline.run import flight
from demur.pipeline.run.run_writer import RunWriter
from demur.remote import addressed, copies, working_copy, working_folder
from demur.remote.objects import Objects
from demur.remote.remote_folder import RemoteFolder
from demur.remote.shared_lines import FILE, FOLDER

ADDRESS = "s3://bucket/runs/first"
QUICK = ("clean", "gaussian_noise(severity=1)")
SLOW = pytest.mark.slow


def measured(folder):
    return tiny.run(folder, tiny.source(700), conditions=QUICK)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The same audit in a folder here."""
    return tiny.hashes(measured(tmp_path_factory.mktemp("local") / "runs" / "first"))


def kept(objects):
    """Everything there, by its name in the run folder."""
    return {name: objects.get(f"runs/first/{name}")[0] for name in objects.list("runs/first/")}


def kill(copy):
    """Nobody renews the lease, and nothing is put or given back."""
    copy.lease._stop.set()
    copy.lease._version = None


def test_the_names_are_those_of_a_local_folder():
    assert (FILE, FOLDER) == (OPENED, ".opened")
    assert {flight.AT, flight.CRASH, "lock"} == working_copy.OWN


def test_an_audit_leaves_the_bytes_of_a_local_one_and_nothing_else(objects, local):
    with working_folder(ADDRESS) as folder:
        measured(folder)
    found = kept(objects)
    assert {name: content for name, content in found.items() if name in local} == local
    others = {name for name in found if not name.startswith(("opened/", "timings/"))} - set(local)
    assert others == {"seal.json", "log.jsonl", OPENED}
    assert found["timings/times.jsonl"] == (folder / "timings" / "times.jsonl").read_bytes()
    assert seal.harmed(folder) == []


@pytest.mark.parametrize(
    "puts", [9, 24, *(pytest.param(puts, marks=SLOW) for puts in (1, 3, 6, 12, 15, 18, 21, 27, 30, 33))]
)
def test_a_killed_audit_goes_on_elsewhere_and_comes_to_the_same_bytes(objects, local, machine, monkeypatch, puts):
    first, whole, left = machine("first"), Objects.put, [puts]

    def counted(self, key, content, after):
        left[0] -= not key.endswith("lease.json")
        if left[0] < 0 and not key.endswith("lease.json"):
            raise KeyboardInterrupt
        return whole(self, key, content, after)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "put", counted)
        with pytest.raises(KeyboardInterrupt), mirrored(first.root, first):
            measured(first.folder)
        kill(first)
    second = machine("second")
    if (second.folder / "run.json").exists():
        with pytest.raises(RunError):
            analyse(second.folder)
    with mirrored(second.root, second):
        measured(second.folder)
    found = kept(objects)
    assert {name: found[name] for name in local} == local
    assert not [name for name in found if name.startswith("shards/")]


def entry(name, content=b"", rows=1):
    sha256 = seal.sha256_of(content)
    return checked_line({"shard": name, "condition": "clean", "rows": rows, "sha256": sha256})


def adopted(copy, name, content):
    RunWriter(copy.folder).adopt(entry(name, content), {f"records/{name}.parquet": content})


def test_a_line_of_the_journal_is_an_object_for_each_shard(machine, objects):
    first = machine("first")
    with mirrored(first.root, first):
        adopted(first, "c000-s0001", b"one")
        adopted(first, "c000-s0000", b"zero")
        adopted(first, "c000-s0001", b"one again")  # it was damaged, and measured anew
    assert list(objects.list("runs/first/shards/")) == ["c000-s0000.json", "c000-s0001.json"]
    kill(first)
    second = machine("second")
    with mirrored(second.root, second):
        found = RunWriter(second.folder).shards()
        assert found == {"c000-s0000": entry("c000-s0000", b"zero"), "c000-s0001": entry("c000-s0001", b"one again")}
        RunWriter(second.folder).finish()
    assert list(objects.list("runs/first/shards/")) == []
    assert json.loads(objects.get("runs/first/manifest.json")[0]) == [found["c000-s0000"], found["c000-s0001"]]


def test_shards_are_removed_many_at_a_time_while_the_lease_is_held(machine, objects, monkeypatch):
    import obstore

    asked, held, delete = [], [], obstore.delete
    monkeypatch.setattr(obstore, "delete", lambda store, keys: (asked.append(keys), delete(store, keys)))
    monkeypatch.setattr(working_copy, "BATCH", 4)
    copy = machine("first")
    with mirrored(copy.root, copy):
        for number in range(10):
            adopted(copy, f"c000-s{number:04d}", b"rows")
        objects.delete(["runs/first/shards/c000-s0002.json"])  # of a request whose answer was lost
        asked.clear()
        monkeypatch.setattr(copy.lease, "confirm", lambda: held.append(len(asked)))
        copy.remove(copy.folder / "shards.jsonl")
    assert [keys for keys in asked if isinstance(keys, list)] == [
        [f"runs/first/shards/c000-s{number:04d}.json" for number in some]
        for some in (range(4), range(4, 8), range(8, 10))
    ]
    assert held[0] == 0
    assert len(held) == 3
    assert list(objects.list("runs/first/shards/")) == []


def test_a_journal_that_was_brought_there_by_other_means_counts_too(machine, objects):
    line = f"{json.dumps(entry('c000-s0000', b'zero'), sort_keys=True)}\n"
    objects.put("runs/first/shards.jsonl", f"{line}{line[:20]}".encode(), None)
    objects.put("runs/first/records/c000-s0000.parquet", b"zero", None)
    objects.put("runs/opened.jsonl", b'{"at": "2026"}', None)
    copy = machine("first")
    with mirrored(copy.root, copy):
        adopted(copy, "c000-s0001", b"one")
        append_line(copy.root / "opened.jsonl", '{"at": "2027"}')
        assert set(RunWriter(copy.folder).shards()) == {"c000-s0000", "c000-s0001"}
        RunWriter(copy.folder).finish()
    assert objects.list("runs/first/shards").keys() == objects.list("runs/first/shards.jsonl").keys() == set()
    assert (copy.root / "opened.jsonl").read_text() == '{"at": "2026"}\n{"at": "2027"}\n'


def test_the_second_of_two_writers_is_refused(machine):
    first, second = machine("first"), machine("second")
    refused = pytest.raises(RunError, match=f"is writing into {ADDRESS}. Wait")
    with (
        mirrored(first.root, first),
        mirrored(second.root, second),
        locked(first.folder),
        refused,
        locked(second.folder),
    ):
        pass


def test_a_writer_whose_lease_was_taken_over_stops_and_harms_nothing(machine, objects):
    first, second = machine("first"), machine("second")
    with mirrored(first.root, first), mirrored(second.root, second):
        first.lock()
        adopted(first, "c000-s0000", b"zero")
        first.lease._stop.set()  # it sleeps
        second.lock()
        adopted(second, "c000-s0000", b"zero of the second")
        first.lease._renewed += 60  # it wakes up, and believes the lease to be its own
        with pytest.raises(RunError, match="another has taken over"):
            adopted(first, "c000-s0000", b"zero, late")
        with pytest.raises(RunError, match="another has taken over"):
            adopted(first, "c000-s0001", b"one")
        assert kept(objects)["records/c000-s0000.parquet"] == b"zero of the second"
        adopted(second, "c000-s0001", b"one")
        RunWriter(second.folder).finish()
    listed = json.loads(objects.get("runs/first/manifest.json")[0])
    assert [each["shard"] for each in listed] == ["c000-s0000", "c000-s0001"]
    assert [each["sha256"] for each in listed] == [seal.sha256_of(each) for each in (b"zero of the second", b"one")]


def test_what_a_late_writer_could_still_put_is_put_over_by_whoever_has_the_lease(machine, objects):
    first, second = machine("first"), machine("second")
    with mirrored(first.root, first), mirrored(second.root, second):
        first.lock()
        first.lease._stop.set()
        second.lock()
        first.lease._renewed += 60
        adopted(first, "c000-s0003", b"by the first")  # whose name the second has not come to yet
        adopted(second, "c000-s0003", b"by the second")
        RunWriter(second.folder).finish()
    found = kept(objects)
    assert found["records/c000-s0003.parquet"] == b"by the second"
    assert json.loads(found["manifest.json"]) == [entry("c000-s0003", b"by the second")]


def test_a_reader_that_writes_at_last_is_refused_if_another_wrote_meanwhile(machine):
    reader, writer = machine("reader"), machine("writer")
    with mirrored(reader.root, reader), mirrored(writer.root, writer):
        writer.lock()
        write_atomically(writer.folder / "run.json", b"{}")
        writer.close()
        with pytest.raises(RunError, match=f"{ADDRESS} was changed by another process since"):
            write_atomically(reader.folder / "results.json", b"{}")


def test_records_come_when_they_are_asked_for_and_once(machine, objects, monkeypatch):
    for number in range(40):
        objects.put(f"runs/first/records/c000-s{number:04d}.parquet", b"%d" % number, None)
    objects.put("runs/first/run.json", b"{}", None)
    copy, asked, get = machine("first"), [], Objects.get
    monkeypatch.setattr(Objects, "get", lambda self, key: asked.append(key) or get(self, key))
    room = copy.folder / "records"
    with mirrored(copy.root, copy):
        assert not list(copy.folder.glob("records/*"))
        assert (copy.folder / "run.json").read_bytes() == b"{}"
        for name in ("c000-s0007", "c000-s0007", "c000-s0030"):
            assert seal.file_sha256(room / f"{name}.parquet") == seal.sha256_of(b"%d" % int(name[-2:]))
        assert [key[-12:-8] for key in asked] == ["0007", "0030"]
        assert seal.file_sha256(room / "c000-s0031.parquet") is not None  # in their order: those that follow come along
        assert len(asked) == 2 + 9
        assert seal.file_sha256(room / "c000-s9999.parquet") is None
        assert sorted(asked) == sorted(set(asked))
    again = machine("first")
    asked.clear()
    with mirrored(again.root, again):
        assert seal.file_sha256(room / "c000-s0007.parquet") is not None
    assert [key for key in asked if "records" in key] == []


def test_a_copy_that_was_changed_is_made_again(machine, objects):
    copy = machine("first")
    with mirrored(copy.root, copy):
        write_atomically(copy.folder / "facts" / "a.json", b"1")
        write_atomically(copy.folder / "records" / "a.parquet", b"2")
    copy.close()
    (copy.folder / "facts" / "a.json").write_bytes(b"changed")
    (copy.folder / "records" / "a.parquet").write_bytes(b"changed")
    (copy.folder / "facts" / "b.json").write_bytes(b"left by a killed process")
    (copy.folder / "at.json").write_bytes(b"what it died at")
    with copy.index.path.open("a") as file:
        file.write('["facts/a.js')  # cut
    again = machine("first")
    with mirrored(again.root, again):
        assert (copy.folder / "facts" / "a.json").read_bytes() == b"1"
        assert not (copy.folder / "facts" / "b.json").exists()
        assert (copy.folder / "at.json").read_bytes() == b"what it died at"
        assert seal.file_sha256(copy.folder / "records" / "a.parquet") == seal.sha256_of(b"2")
        remove(copy.folder / "facts" / "a.json")
    assert set(kept(objects)) - {"lease.json"} == {"records/a.parquet"}


def test_openings_of_all_machines_have_one_order(machine):
    first, second = machine("first"), machine("second", "s3://bucket/runs/second")
    with mirrored(first.root, first), mirrored(second.root, second):
        for number in range(3):
            for copy in (first, second):
                append_line(copy.root / "opened.jsonl", f'{{"at": "{copy.remote.name}", "n": {number}}}')
        write_atomically(first.root / ".opened" / "abc.ids", b"12345678")
    third = machine("third", "s3://bucket/runs/third")
    lines = [json.loads(line) for line in (third.root / "opened.jsonl").read_text().splitlines()]
    assert [(line["at"], line["n"]) for line in lines] == [(at, n) for n in range(3) for at in ("first", "second")]
    assert (second.root / "opened.jsonl").read_bytes() == (third.root / "opened.jsonl").read_bytes()
    assert (third.root / ".opened" / "abc.ids").read_bytes() == b"12345678"


def test_who_may_not_write_beside_the_run_folders_is_told_so_that_the_run_counts_alone(machine, objects, monkeypatch):
    copy, whole = machine("first"), Objects.put

    def denied(self, key, content, after):
        if not key.startswith("runs/first/"):
            raise InputError("refused")
        return whole(self, key, content, after)

    monkeypatch.setattr(Objects, "put", denied)
    with mirrored(copy.root, copy), pytest.raises(RunError, match="refused"):
        append_line(copy.root / "opened.jsonl", "{}")


def test_lines_outside_guarantees_follow_as_a_whole_at_the_end(machine, objects):
    copy = machine("first")
    with mirrored(copy.root, copy):
        for number in range(3):
            append_line(copy.folder / "timings" / "times.jsonl", f'{{"name": "{number}"}}')
        assert "timings/times.jsonl" not in kept(objects)
        copy._flushed -= 61
        write_atomically(copy.folder / "run.json", b"{}")
        assert kept(objects)["timings/times.jsonl"].count(b"\n") == 3
        append_line(copy.folder / "timings" / "times.jsonl", "{}")
    copy.close()
    assert kept(objects)["timings/times.jsonl"].count(b"\n") == 4


def test_two_processes_have_two_copies_and_one_has_one(objects, tmp_path):
    with working_folder(ADDRESS) as first, working_folder(ADDRESS) as again:
        assert first == again
        place = first.parents[1]
        code = f"import fcntl; fcntl.flock(open({str(place / 'lock')!r}), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 1
        with copies._slot(RemoteFolder.of(ADDRESS)) as other:
            assert (other.parent, other.name[:-1]) == (place.parent, place.name[:-1])
            assert other != place
    with working_folder(ADDRESS) as later:
        assert later == first
    with working_folder(tmp_path) as same:
        assert same == tmp_path


def test_errors_call_the_copy_by_its_address(objects):
    with pytest.raises(RunError, match=rf"{ADDRESS} is not a run folder: it has no run.json \({ADDRESS}/run.json"):
        analyse(ADDRESS)
    with working_folder(ADDRESS) as folder:
        assert addressed(f"in {folder}/records") == f"in {ADDRESS}/records"


def test_a_cache_that_cannot_be_written_is_told(objects, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot write the cache folder .*DEMUR_CACHE=DIR"), working_folder(ADDRESS):
        pass
