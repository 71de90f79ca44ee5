import pytest

pytest.importorskip("obstore")

from dataclasses import replace

from obstore.store import MemoryStore

from demur.remote import copies
from demur.remote.copy_index import CopyIndex
from demur.remote.objects import Objects
from demur.remote.remote_folder import RemoteFolder
from demur.remote.working_copy import WorkingCopy

ADDRESS = "s3://bucket/runs/first"


@pytest.fixture
def objects(monkeypatch, tmp_path):
    """The objects of a bucket in memory, which every address leads to; leases there last a second."""
    found = Objects("s3://bucket", MemoryStore(), patience=0.3)
    monkeypatch.setattr(copies, "open_objects", lambda folder: replace(found, address=str(folder)))
    monkeypatch.setenv("DEMUR_LEASE_SECONDS", "1")
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    return found


@pytest.fixture
def machine(objects, tmp_path):
    """A function that opens the folder on a machine of a name; all that were opened are closed at the end."""
    opened = []

    def open_on(name, address=ADDRESS):
        place, remote = tmp_path / name, RemoteFolder.of(address)
        place.mkdir(exist_ok=True)
        found = replace(objects, address=str(remote))
        copy = WorkingCopy(remote, found, place / "beside", CopyIndex.of(place / "index.jsonl"))
        copy.pull()
        opened.append(copy)
        return copy

    yield open_on
    for copy in opened:
        copy.close()
