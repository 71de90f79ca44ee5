import io
import json
import os
import pickle
import tarfile

import numpy as np
import pytest
from tests.data.image_files import picture

from demur.data import build_index, open_data
from demur.data.webdataset import expanded
from demur.errors import AddressError, DataError
from demur.testing import check_data


class Planted:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def encoded(number, form="PNG"):
    out = io.BytesIO()
    picture(number).save(out, form)
    return out.getvalue()


def write(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def pair(key, number, label):
    return [(f"{key}.png", encoded(number)), (f"{key}.cls", str(label).encode())]


@pytest.fixture
def shards(tmp_path):
    for shard in range(3):
        members = [each for row in range(4) for each in pair(f"{shard}{row}", 4 * shard + row, row % 2)]
        write(tmp_path / f"s-{shard:03d}.tar", members)
    return f"webdataset:{tmp_path}/s-{{000..002}}.tar"


def test_samples_of_several_files_are_read_in_any_order(shards):
    source = open_data(shards)
    check_data(source)
    rows = list(source.read(range(12)))
    assert [row.sample_id for row in rows] == [f"{shard}{row}" for shard in range(3) for row in range(4)]
    assert [row.label for row in rows] == [0, 1] * 6
    for number in (11, 3, 7):
        image = next(source.read([number])).image
        np.testing.assert_array_equal((image[0] * 255).round(), np.asarray(picture(number)))
    assert open_data(f"{shards}?size=8&colour=rgb").input_shape == (3, 8, 8)


def test_keys_that_come_again_in_another_file_have_its_name(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.tar", pair("x/0", 1, 0) + pair("x/1", 2, 1))
    rows = open_data(f"webdataset:{tmp_path}/{{a,b}}.tar").read(range(4))
    assert [row.sample_id for row in rows] == ["a/x/0", "a/x/1", "b/x/0", "b/x/1"]


def test_what_json_says_are_columns(tmp_path):
    says = [{"kind": kind, "who": f"p{row // 2}", "age": row, "deep": {"x": 1}} for row, kind in enumerate("abab")]
    members = [
        each
        for row, said in enumerate(says)
        for each in [(f"{row}.json", json.dumps(said).encode()), (f"{row}.jpg", encoded(row, "JPEG"))]
    ]
    write(tmp_path / "s.tar", members)
    source = open_data(f"webdataset:{tmp_path}/s.tar?label=kind&group=who&meta=age")
    rows = list(source.read(range(4)))
    assert source.classes == ("a", "b")
    assert [row.group for row in rows] == ["p0", "p0", "p1", "p1"]
    assert [row.meta for row in rows] == [{"age": float(row)} for row in range(4)]


def test_the_member_of_the_image_can_be_named(tmp_path):
    members = [each for row in range(4) for each in (*pair(row, row, row % 2), (f"{row}.big.png", encoded(9)))]
    write(tmp_path / "s.tar", members)
    row = next(open_data(f"webdataset:{tmp_path}/s.tar?image=big.png").read([0]))
    np.testing.assert_array_equal((row.image[0] * 255).round(), np.asarray(picture(9)))


def test_pickles_are_never_read(tmp_path):
    mark = tmp_path / "ran"
    bad = pickle.dumps(Planted(mark))
    pickle.loads(bad)
    mark.rmdir()  # it is one that leaves its mark
    members = [
        each for row in range(4) for each in (*pair(row, row, row % 2), (f"{row}.pyd", bad), (f"{row}.pth", bad))
    ]
    write(tmp_path / "s.tar", members)
    check_data(f"webdataset:{tmp_path}/s.tar")
    for option in ("image=pyd", "image=x.pickle", "image=pth", "image=npy"):
        with pytest.raises(AddressError, match=r"must name members that are pictures.*pickles"):
            open_data(f"webdataset:{tmp_path}/s.tar?{option}")
    with pytest.raises(DataError, match=r"no label 'pyd'.*\.pyd.*no pickles"):
        open_data(f"webdataset:{tmp_path}/s.tar?label=pyd")
    write(tmp_path / "only.tar", [(f"{row}.pyd", bad) for row in range(4)])
    with pytest.raises(DataError, match="no label 'cls'"):
        open_data(f"webdataset:{tmp_path}/only.tar")
    assert not mark.exists()


def test_members_stay_where_they_are_and_links_are_none(tmp_path):
    link = tarfile.TarInfo("9.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "s.tar", [*pair("../out/0", 0, 0), *pair("/abs/1", 1, 1), *pair("2", 2, 0), ("9.cls", b"1")])
    with tarfile.open(folder / "s.tar", "a") as archive:
        archive.addfile(link)
    index = build_index(open_data(f"webdataset:{folder}/s.tar"))
    assert index.sample_ids == ("../out/0", "/abs/1", "2", "9")
    assert index.errors == (
        None,
        None,
        None,
        "cannot read the file: the sample has no member .jpg or .jpeg or .png, only .cls",
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "s.tar"]


def test_a_broken_image_is_a_row_with_a_reason(tmp_path):
    write(
        tmp_path / "s.tar", [*pair("0", 0, 0), *pair("1", 1, 1), ("2.png", b"none"), ("2.cls", b"0"), *pair("3", 3, 1)]
    )
    errors = build_index(open_data(f"webdataset:{tmp_path}/s.tar")).errors
    assert [error is None for error in errors] == [True, True, False, True]


def test_a_member_that_says_to_be_huge_is_no_image(tmp_path, monkeypatch):
    monkeypatch.setattr("demur.data.webdataset._LARGEST_IMAGE", 2_000)
    write(tmp_path / "s.tar", [*pair("0", 0, 0), *pair("1", 1, 1), ("2.png", bytes(5_000)), ("2.cls", b"0")])
    assert "more than the 2,000" in build_index(open_data(f"webdataset:{tmp_path}/s.tar")).errors[2]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("s-{008..010}.tar", ["s-008.tar", "s-009.tar", "s-010.tar"]),
        ("{x,y}/{1..2}", ["x/1", "x/2", "y/1", "y/2"]),
    ],
)
def test_braces_are_names(pattern, names):
    assert expanded(pattern) == names


@pytest.mark.parametrize("pattern", ["s-{000..tar", "s-}0{.tar", "{9..1}.tar", "{0..99999}.tar", "{0..999}{0..999}"])
def test_braces_that_do_not_fit_are_refused(pattern):
    with pytest.raises(AddressError, match=r"braces|smaller number|at most 10,000"):
        open_data(f"webdataset:{pattern}")


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([], "no samples"),
        ([*pair("0", 0, 0), *pair("0", 0, 0)], "the member '0.png' twice"),
        ([("0.png", encoded(0)), ("0.cls", b"\xff")], r"cannot read the member 0.cls .* UTF-8"),
        ([("0.png", encoded(0)), ("0.json", b"[1]")], r"cannot read the member 0.json .*no object"),
        ([("0.png", encoded(0)), ("0.json", b"[" * 99_999)], "cannot read the member 0.json"),
        ([*pair("0", 0, 0), ("1.png", encoded(1))], "the label is missing"),
    ],
)
def test_unusable_samples_are_refused(tmp_path, members, says):
    write(tmp_path / "s.tar", members)
    with pytest.raises(DataError, match=says):
        open_data(f"webdataset:{tmp_path}/s.tar")


def test_files_that_are_no_plain_tar_are_refused(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"no tar file" * 99)
    with pytest.raises(DataError, match="as a plain tar file"):
        open_data(f"webdataset:{tmp_path}/s.tar")
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz"):
        pass
    with pytest.raises(DataError, match="Unpack it first"):
        open_data(f"webdataset:{tmp_path}/s.tar.gz")
    with pytest.raises(DataError, match="there is no file"):
        open_data(f"webdataset:{tmp_path}/t.tar")
    with pytest.raises(AddressError, match="needs tar files"):
        open_data("webdataset")


def test_a_file_that_is_not_there_is_named_before_any_other_is_read(tmp_path):
    (tmp_path / "s-0.tar").write_bytes(b"no tar file")
    with pytest.raises(DataError, match=r"there is no file .*s-1\.tar"):
        open_data(f"webdataset:{tmp_path}/s-{{0..1}}.tar")
