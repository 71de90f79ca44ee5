"""Run folders in an object store that fails, is slow, is written by two, and whose writers are killed.

The server is a real one, of moto, on this machine; it keeps to conditional writes as S3 does.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests import tiny

pytest.importorskip("moto")
pytest.importorskip("obstore")

from demur import seal
from demur.analysis import analyse, write_results
from demur.cli import main
from demur.errors import InputError, RunError
from demur.remote import working_folder
from demur.remote.objects import open_objects
from demur.remote.remote_folder import RemoteFolder
from demur.report import write

ADDRESS = "s3://bucket/runs/first"
ROOT = Path(__file__).parents[2]
QUICK = ("clean", "fgsm(eps=0.05)", "gaussian_noise(severity=[1, 4])")
CHILD = f"""
import sys
from demur.errors import DemurError
from demur.remote import working_folder
from tests.scale.test_object_store import measured
try:
    with working_folder({ADDRESS!r}) as folder:
        measured(folder)
except DemurError as error:
    sys.exit(str(error))
"""


def measured(folder):
    return tiny.run(folder, conditions=QUICK)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The same audit in a folder here."""
    return tiny.hashes(measured(tmp_path_factory.mktemp("local") / "runs" / "first"))


def child(machine, **more):
    """An audit in another process, on a machine that has its own cache."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "DEMUR_CACHE": str(machine), "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}
    return subprocess.Popen([sys.executable, "-c", CHILD], env=environment, stderr=subprocess.PIPE, text=True)


def kept():
    """Everything there, by its name in the run folder."""
    objects = open_objects(RemoteFolder.of(ADDRESS))
    found = objects.list("runs/first/")
    return {name: objects.get(f"runs/first/{name}")[0] for name in found}


def check_whole(local):
    """What is there is what a local folder would hold, and no shard is there twice."""
    found = kept()
    assert {name: found[name] for name in local} == local
    assert not [name for name in found if name.startswith(("shards", "lease"))]
    with working_folder(ADDRESS) as folder:
        assert seal.harmed(folder) == []


def waited(s3, count):
    """Until the server has had so many requests."""
    began = time.monotonic()
    while len(s3.faulty.seen) < count and time.monotonic() - began < 60:
        time.sleep(0.02)


def test_an_audit_through_a_fifth_of_failures_has_the_bytes_of_a_local_one(s3, local):
    s3.faulty.share = 0.2
    with working_folder(ADDRESS) as folder:
        measured(folder)
        results = write_results(folder, by="audit")
        write(folder, results)
    s3.faulty.share = 0
    kinds = [kind for _, _, kind in s3.faulty.seen]
    assert set(kinds) == {None, *s3.faulty.kinds}
    assert 0.1 < sum(kind is not None for kind in kinds) / len(kinds) < 0.3
    check_whole(local)
    assert analyse(ADDRESS).text == results.text


@pytest.mark.parametrize("requests", [25, *(pytest.param(n, marks=pytest.mark.slow) for n in (10, 40, 55, 70, 85))])
def test_what_a_killed_audit_left_is_continued_on_another_machine(s3, local, tmp_path, requests):
    first = child(tmp_path / "one")
    waited(s3, requests)
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stderr.close()
    with working_folder(ADDRESS) as folder:
        measured(folder)
    check_whole(local)


def test_of_two_writers_at_once_the_second_is_refused(s3, local, tmp_path):
    first = child(tmp_path / "one")
    waited(s3, 25)
    refused = pytest.raises(RunError, match=f"another process .* is writing into {ADDRESS}. Wait")
    with refused, working_folder(ADDRESS) as folder:
        measured(folder)
    assert (first.wait(), first.stderr.read()) == (0, "")
    first.stderr.close()
    check_whole(local)


def test_a_writer_that_slept_finds_its_lease_taken_over_and_no_shard_is_there_twice(s3, local, tmp_path):
    first = child(tmp_path / "one")
    waited(s3, 25)
    first.send_signal(signal.SIGSTOP)
    with working_folder(ADDRESS) as folder:
        measured(folder)
        first.send_signal(signal.SIGCONT)
        said = first.communicate()[1]
    assert first.returncode == 1
    assert f"{ADDRESS}: this process could not renew its lease" in said
    check_whole(local)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_kills_at_random_moments_through_failures_lose_nothing(s3, local, tmp_path, seed):
    s3.faulty.share, draw = 0.2, Random(seed)
    for number in range(3):
        process = child(tmp_path / str(number))
        waited(s3, len(s3.faulty.seen) + draw.randrange(5, 60))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    with working_folder(ADDRESS) as folder:
        measured(folder)
    s3.faulty.share = 0
    check_whole(local)


def test_a_report_fetches_each_file_once(s3, local, tmp_path, monkeypatch):
    with working_folder(ADDRESS) as folder:
        measured(folder)
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "elsewhere"))
    counts = []
    for _ in range(2):
        s3.faulty.seen.clear()
        analyse(ADDRESS)
        asked = [path for method, path, _ in s3.faulty.seen if method == "GET" and "/records/" in path]
        assert len(asked) == len(set(asked))
        counts.append(len(asked))
    assert counts == [sum(name.startswith("records/") for name in local), 0]


def test_what_is_wrong_is_told_with_its_way_out(s3, monkeypatch):
    with (
        pytest.raises(InputError, match="s3://nothing/run: there is no such bucket"),
        working_folder("s3://nothing/run"),
    ):
        pass
    s3.faulty.share, s3.faulty.kinds = 1, ("403 Forbidden",)
    with (
        pytest.raises(InputError, match=r"the store refused to find .* Correct the"),
        working_folder(ADDRESS),
    ):
        pass
    monkeypatch.setattr("demur.remote.copies._FIRST_PATIENCE", 0.5)
    s3.faulty.kinds = ("503 Slow Down",)
    with pytest.raises(RunError, match=r"did not do so for .* the same command continues"), working_folder(ADDRESS):
        pass
    s3.faulty.share = 0
    refused = pytest.raises(RunError, match=r"cannot .* runs/first/records/c000.*the same command continues")
    with refused, working_folder(ADDRESS) as folder:
        s3.faulty.share, s3.faulty.only = 1, "/records/"
        object.__setattr__(_copy().objects, "patience", 0.5)
        measured(folder)
    s3.faulty.share = 0
    with working_folder(ADDRESS) as folder:
        measured(folder)
        assert seal.harmed(folder) == []


def _copy():
    from demur.remote import copies

    (found,) = copies._OPEN.values()
    return found


def said(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["demur", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code or 0, capsys.readouterr()


def test_the_commands_take_addresses(s3, local, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    with working_folder(ADDRESS) as folder:
        measured(folder)
    status, found = said(monkeypatch, capsys, "report", ADDRESS)
    assert status in {0, 1, 3}, found.err
    assert f"Report: {ADDRESS}/report.html" in found.out
    status, found = said(monkeypatch, capsys, "compare", ADDRESS, ADDRESS)
    assert status == 0, found.err
    status, found = said(monkeypatch, capsys, "monitor", ADDRESS, "--streams", "10")
    assert status == 0, found.err
    status, found = said(monkeypatch, capsys, "report", "s3://bucket/runs/none")
    assert (status, "s3://bucket/runs/none is not a run folder" in found.err) == (2, True)
