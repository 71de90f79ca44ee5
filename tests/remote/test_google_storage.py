"""`gs://`: conditions go by the numbers of objects, which lists do not have, and what is gone cannot be removed again.

The server is one of these tests, made after the documentation of Google's XML interface; Google's own was not asked.
"""

import json

import pytest
from tests import tiny
from tests.remote.gcs_server import Server

from demur.errors import RunError
from demur.files import locked
from demur.remote import working_folder
from demur.remote.copy_index import CopyIndex
from demur.remote.objects import ConflictError, Version, open_objects
from demur.remote.remote_folder import RemoteFolder
from demur.remote.working_copy import WorkingCopy

ADDRESS = "gs://bucket/runs/first"
QUICK = ("clean", "gaussian_noise(severity=1)")


@pytest.fixture
def server(monkeypatch, tmp_path):
    found = Server()
    key = {
        "gcs_base_url": found.url,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
    monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DEMUR_LEASE_SECONDS", "1")
    yield found
    found.stop()


def test_an_object_that_was_listed_is_put_over_by_its_number(server):
    objects = open_objects(RemoteFolder.of(ADDRESS))
    objects.put("runs/a", b"one", None)
    listed = objects.list("runs/")["a"]
    assert listed.version is None
    objects.put("runs/a", b"two", listed)
    with pytest.raises(ConflictError):
        objects.put("runs/a", b"three", listed)
    with pytest.raises(ConflictError):
        objects.put("runs/a", b"three", Version(listed.e_tag, "1"))
    with pytest.raises(ConflictError):
        objects.put("runs/a", b"three", None)
    objects.delete(["runs/a", "runs/a", "runs/nothing"])
    assert server.held == {}


def test_an_audit_leaves_the_bytes_of_a_local_one_there_too(server, tmp_path):
    local = tiny.hashes(tiny.run(tmp_path / "local" / "runs" / "first", tiny.source(700), conditions=QUICK))
    with working_folder(ADDRESS) as folder:
        tiny.run(folder, tiny.source(700), conditions=QUICK)
    found = {key.removeprefix("runs/first/"): content for key, (_, content) in server.held.items()}
    assert {name: found[name] for name in local} == local
    assert not [name for name in found if name.startswith(("shards", "lease"))]


def test_the_second_writer_is_refused_there_too(server, tmp_path):
    remote = RemoteFolder.of(ADDRESS)
    copy = WorkingCopy(remote, open_objects(remote), tmp_path / "other", CopyIndex.of(tmp_path / "index.jsonl"))
    copy.pull()
    copy.lock()
    with pytest.raises(RunError, match=f"is writing into {ADDRESS}"), working_folder(ADDRESS) as folder, locked(folder):
        pass
    copy.close()
    assert "runs/first/lease.json" not in server.held
