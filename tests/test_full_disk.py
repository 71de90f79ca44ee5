"""A disk that is full for a moment is waited for; one that stays full is told of, and what was there stays."""

import errno
import os

import pytest

from demur import files
from demur.errors import RunError
from demur.files import append_line, write_atomically


@pytest.fixture
def disk(monkeypatch):
    """A disk on which the next writes fail, and how long was waited for it."""
    sync, write, failing, waited = os.fsync, files._write_whole, [], []

    def until_free(work):
        def done(*given):
            if failing:
                raise OSError(failing.pop(), "no")
            work(*given)

        return done

    monkeypatch.setattr(os, "fsync", until_free(sync))
    monkeypatch.setattr(files, "_write_whole", until_free(write))
    monkeypatch.setattr(files.time, "sleep", waited.append)
    return failing, waited


@pytest.mark.parametrize(
    "write", [lambda path: write_atomically(path, b"new\n"), lambda path: append_line(path, "new")]
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_for_a_moment_is_waited_for(disk, tmp_path, write, number):
    failing, waited = disk
    failing += [number] * 3
    write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new\n"
    assert waited == list(files.WAITS)
    assert waited == sorted(waited)


def test_one_that_stays_full_is_told_of(disk, tmp_path):
    failing, _ = disk
    (tmp_path / "file").write_text("old")
    failing += [errno.ENOSPC] * 4
    with pytest.raises(RunError, match="is whole; free some space"):
        write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_no_waiting_mends_is_told_of_at_once(disk, tmp_path):
    failing, waited = disk
    failing.append(errno.EACCES)
    with pytest.raises(RunError, match="cannot write"):
        write_atomically(tmp_path / "file", b"new")
    assert not waited
