"""What of `hf:` needs no library: what its images may be, and what is said where the library is missing."""

import sys

import pytest
from tests.data.image_files import save

from demur.data import open_data
from demur.data.hf_datasets import EncodedColumn
from demur.errors import MissingExtraError


def test_an_image_is_its_bytes_or_a_file_of_this_disk(tmp_path):
    save(tmp_path, ["a.png"])
    whole = (tmp_path / "a.png").read_bytes()
    cells = [whole, {"bytes": whole, "path": "gone.png"}, {"bytes": None, "path": str(tmp_path / "a.png")}]
    read = EncodedColumn([{"scan": each} for each in cells], "scan")
    assert [read(at) for at in range(3)] == [whole] * 3


@pytest.mark.parametrize("path", ["https://example.org/a.png", "zip://a.png::/set.zip", "", None])
def test_an_image_that_lies_elsewhere_is_not_fetched(path):
    read = EncodedColumn([{"image": {"bytes": None, "path": path}}], "image")
    with pytest.raises(OSError, match="its bytes are not in the data set"):
        read(0)


def test_no_image_is_no_bytes():
    assert EncodedColumn([{"image": None}], "image")(0) == b""


@pytest.mark.parametrize(
    ("library", "address", "extra"),
    [("datasets", "hf:somebody/something", "hf"), ("torchvision", "torchvision:MNIST?root=.", "torchvision")],
)
def test_the_missing_library_is_named(monkeypatch, library, address, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"{extra}: data set .*pip install 'demur\[{extra}\]'"):
        open_data(address)
