import polars as pl
import pytest

from demur.parquet_files import unpacked_size


def written(path, **given):
    table = pl.DataFrame({"text": [f"{number}-{'x' * 500}" for number in range(4000)], "number": range(4000)})
    table.write_parquet(path, statistics="full", **given)
    return path


@pytest.mark.parametrize("size", [4000, 700, 50])
def test_pages_unpack_to_what_they_are_without_packing(tmp_path, size):
    plain = written(tmp_path / "plain", compression="uncompressed", row_group_size=size)
    packed = written(tmp_path / "packed", compression="zstd", row_group_size=size)
    assert packed.stat().st_size < plain.stat().st_size / 3
    assert unpacked_size(packed) == unpacked_size(plain)
    assert 4000 * 508 < unpacked_size(plain) < plain.stat().st_size


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"x" * 100, b"\xff" * 96 + b"\x60\0\0\0PAR1", b"\xff\xff\xff\x7fPAR1"]
)
def test_what_is_no_footer_is_a_value_error(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"footer|cut|type|size|list"):
        unpacked_size(tmp_path / "file")


def test_a_footer_that_nests_for_ever_is_a_value_error(tmp_path):
    deep = b"\x1c" * 90_000
    (tmp_path / "file").write_bytes(b"PAR1" + deep + len(deep).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match="nested too deep"):
        unpacked_size(tmp_path / "file")
