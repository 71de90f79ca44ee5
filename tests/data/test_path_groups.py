"""`?group=REGEX` reads the groups off the paths of folders, tables and Parquet files, and names what does not match."""

import io

import polars as pl
import pytest
from tests.data.image_files import picture, save

from demur.data import build_index, open_data
from demur.errors import AddressError, DataError

VIDEOS = [f"{kind}/{kind}{video}_{frame:04d}.png" for kind in ("cat", "dog") for video in "ab" for frame in range(3)]


def groups(address):
    source = open_data(address)
    return [row.group for row in source.read(range(len(source)))]


def test_the_first_capture_group_is_the_group(tmp_path):
    save(tmp_path, VIDEOS)
    address = rf"folder:{tmp_path}?group=([^/]+)_\d+\.png"
    assert groups(address) == [name.rpartition("/")[2][:4] for name in VIDEOS]
    assert build_index(open_data(address)).group_count == 4


def test_without_one_the_whole_match_is(tmp_path):
    save(tmp_path, VIDEOS)
    assert groups(rf"folder:{tmp_path}?group=[ab](?=_)") == [name.rpartition("_")[0][-1] for name in VIDEOS]


def test_the_path_is_relative_to_the_root(tmp_path):
    save(tmp_path / "lot9_set", VIDEOS)
    with pytest.raises(DataError, match=r"finds none in 'cat/cata_0000.png' \(12 of 12 such paths\)"):
        open_data(f"folder:{tmp_path / 'lot9_set'}?group=lot[0-9]")


def test_an_option_wins_over_the_table(tmp_path):
    save(tmp_path, VIDEOS)
    lines = "".join(f"{name},everyone\n" for name in VIDEOS)
    (tmp_path / "metadata.csv").write_text(f"path,group\n{lines}")
    assert set(groups(f"folder:{tmp_path}")) == {"everyone"}
    assert groups(rf"folder:{tmp_path}?group=^([a-z]+)/") == ["cat"] * 6 + ["dog"] * 6


def test_a_path_that_does_not_match_is_named(tmp_path):
    save(tmp_path, [*VIDEOS, "dog/other.png"])
    with pytest.raises(DataError, match=r"none in 'dog/other.png' \(1 of 13"):
        open_data(rf"folder:{tmp_path}?group=([^/]+)_\d+")
    with pytest.raises(DataError, match=r"none in 'cat/cata_0000.png' \(13 of 13"):
        open_data(rf"folder:{tmp_path}?group=(video)?.png")


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "a{99999999999}"])
def test_what_is_no_pattern_is_refused(tmp_path, pattern):
    save(tmp_path, VIDEOS)
    with pytest.raises(AddressError, match="must be a regular expression over paths"):
        open_data(f"folder:{tmp_path}?group={pattern}")


@pytest.fixture
def table(tmp_path):
    save(tmp_path, VIDEOS)
    lines = "".join(f"{name},{name[:3]},p{at % 2}\n" for at, name in enumerate(VIDEOS))
    (tmp_path / "set.csv").write_text(f"path,label,group\n{lines}")
    return f"csv:{tmp_path / 'set.csv'}"


def test_a_table_takes_a_pattern_or_a_column(table):
    assert groups(table) == ["p0", "p1"] * 6
    assert groups(f"{table}?group=label") == ["cat"] * 6 + ["dog"] * 6
    assert groups(rf"{table}?group=([^/]+)_\d+\.png&split=all") == [name.rpartition("/")[2][:4] for name in VIDEOS]
    with pytest.raises(DataError, match=r"unknown column 'lable'.*Did you mean 'label'"):
        open_data(f"{table}?group=lable")


def parquet(tmp_path, **columns):
    pl.DataFrame(columns | {"label": [name[:3] for name in VIDEOS]}).write_parquet(tmp_path / "set.parquet")
    return f"parquet:{tmp_path / 'set.parquet'}"


def png(number):
    buffer = io.BytesIO()
    picture(number).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_parquet_file_knows_paths_beside_the_bytes_or_in_a_column(tmp_path):
    contents = [png(number) for number in range(len(VIDEOS))]
    wanted = [name.rpartition("/")[2][:4] for name in VIDEOS]
    beside = [{"bytes": content, "path": name} for content, name in zip(contents, VIDEOS, strict=True)]
    assert groups(parquet(tmp_path, image=beside) + r"?group=([^/]+)_\d+") == wanted
    assert groups(parquet(tmp_path, image=contents, file_name=VIDEOS) + r"?group=([^/]+)_\d+") == wanted
    with pytest.raises(DataError, match=r"has no paths for \?group="):
        open_data(parquet(tmp_path, image=contents) + r"?group=([^/]+)_\d+")
    unsaid = [{"bytes": content, "path": None} for content in contents]
    with pytest.raises(DataError, match=r"finds none in ''"):
        open_data(parquet(tmp_path, image=unsaid) + r"?group=([^/]+)_\d+")
