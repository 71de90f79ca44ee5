import os
import socket

import pytest

from demur.registry.regular_files import content_of, reason


def test_a_regular_file_is_read_whole(tmp_path):
    (tmp_path / "file").write_bytes(b"four")
    assert content_of(tmp_path / "file", 4) == b"four"
    (tmp_path / "link").symlink_to("file")
    assert content_of(tmp_path / "link", 4) == b"four"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "No such file or directory"),
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "it is a folder, not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.write_bytes(b"fives"), "it has 5 bytes, more than the 4 that such a file may have"),
    ],
)
def test_anything_else_says_what_it_is(tmp_path, make, why):
    make(tmp_path / "file")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - of which kind is what is asked here
        content_of(tmp_path / "file", 4)
    assert reason(caught.value) == why


def test_a_socket_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("file")
    with pytest.raises(OSError, match="not a regular file"):
        content_of(tmp_path / "file", 4)
