"""Commands take addresses of an object store wherever they take a run folder."""

import pytest

pytest.importorskip("obstore")

from dataclasses import replace

from obstore.store import MemoryStore

from demur.remote import copies
from demur.remote.objects import Objects

QUICK = ("--set", 'conditions.use=["gaussian_noise(severity=1)"]')


@pytest.fixture
def objects(monkeypatch, tmp_path):
    """The objects of a bucket in memory, which every address leads to."""
    found = Objects("s3://bucket", MemoryStore(), patience=0.3)
    monkeypatch.setattr(copies, "open_objects", lambda folder: replace(found, address=str(folder)))
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    return found


def test_an_audit_in_parts_runs_in_a_bucket_alone(demur, objects, good, data, tmp_path):
    def phase(*more):
        for i in (1, 2):
            found = demur("audit", good, data, *QUICK, "--shard", f"{i}/2", "--out", f"s3://bucket/parts/{i}", *more)
            assert found.status == 0, found.err
        return found

    assert phase().out.startswith("Part 2/2: 0 of 1 clean shards measured, in s3://bucket/parts/2\n")
    found = demur("merge", "s3://bucket/parts/*", "--out", "s3://bucket/run")
    assert (found.status, found.out) == (0, "Every clean shard is there. Next: demur freeze s3://bucket/run\n")
    assert "Merged 1 shards into s3://bucket/run; 0 were there already." in found.err
    assert demur("freeze", "s3://bucket/run").status == 0
    phase("--frozen", "s3://bucket/run")
    whole = demur("merge", "s3://bucket/parts/*", "--out", "s3://bucket/run")
    assert whole.out.endswith("Report: s3://bucket/run/report.html\n"), whole.err
    local = demur("audit", good, data, *QUICK, "--out", "here/run")
    assert local.status == whole.status
    for path in (tmp_path / "here" / "run" / "records").iterdir():
        assert objects.get(f"run/records/{path.name}")[0] == path.read_bytes()
    assert not [name for name in objects.list("") if name.endswith("lease.json") or name.startswith("run/shards/")]
    assert demur("report", "s3://bucket/run").status == whole.status
    assert demur("compare", "s3://bucket/run", "here/run").status == 0


def test_what_is_wrong_is_told_by_its_address(demur, objects):
    found = demur("report", "s3://bucket/none")
    assert (found.status, found.err.startswith("demur: s3://bucket/none is not a run folder")) == (2, True)
    found = demur("report", "s3://bucket")
    assert (found.status, "is s3://BUCKET/NAME or gs://BUCKET/NAME" in found.err) == (2, True)
    found = demur("train", "simple_cnn", "fashion", "--out", "s3://bucket/net")
    assert (found.status, "Only run folders may lie there" in found.err) == (2, True)
    found = demur("merge", "s3://bucket/parts/*", "--out", "s3://bucket/run")
    assert (found.status, "s3://bucket/parts/* names no folder" in found.err) == (2, True)
