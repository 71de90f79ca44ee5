import numpy as np
import pytest
import torch

from demur.data import build_index, open_data
from demur.errors import AddressError, DataError

RECORDS = np.random.default_rng(0).integers(0, 256, (60, 3073), np.uint8)
RECORDS[:, 0] = np.arange(60) % 10


@pytest.fixture
def folder(tmp_path):
    for number in range(5):
        (tmp_path / f"data_batch_{number + 1}.bin").write_bytes(RECORDS[number * 10 : number * 10 + 10].tobytes())
    (tmp_path / "test_batch.bin").write_bytes(RECORDS[50:].tobytes())
    return tmp_path


def test_the_test_file_is_the_default(folder):
    source = open_data(f"cifar10:{folder}")
    assert (len(source), source.input_shape, source.classes[9]) == (10, (3, 32, 32), "truck")
    for position, row in zip([9, 0], source.read([9, 0]), strict=True):
        expected = torch.tensor(RECORDS[50 + position, 1:].reshape(3, 32, 32) / 255, dtype=torch.float32)
        torch.testing.assert_close(row.image, expected)
        assert (row.sample_id, row.label) == (f"test_batch/{position:05d}", position)
    assert "tune" in build_index(source).splits


def test_all_files_keep_their_split(folder):
    source = open_data(f"cifar10:{folder}?split=all&size=8&colour=grey")
    index = build_index(source)
    assert source.input_shape == (1, 8, 8)
    assert index.splits[:50] == ("train",) * 50
    assert "train" not in index.splits[50:]
    last = next(open_data(f"cifar10:{folder}?split=train").read([42]))
    assert (last.sample_id, last.split) == ("data_batch_5/00002", "train")
    expected = torch.tensor(RECORDS[42, 1:].reshape(3, 32, 32) / 255, dtype=torch.float32)
    torch.testing.assert_close(last.image, expected)


def test_pickles_are_refused_with_the_way_out(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02")
    (tmp_path / "batches.meta").write_bytes(b"\x80\x02")
    with pytest.raises(DataError, match=r"Python pickles.*cifar-10-binary.tar.gz"):
        open_data(f"cifar10:{tmp_path}")


def test_other_folders_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"has no file test_batch.bin"):
        open_data(f"cifar10:{folder / 'none'}")
    (tmp_path / "outer" / "cifar-10-batches-bin").mkdir(parents=True)
    with pytest.raises(DataError, match=r"Write cifar10:.*cifar-10-batches-bin"):
        open_data(f"cifar10:{tmp_path / 'outer'}")
    (folder / "test_batch.bin").write_bytes(RECORDS.tobytes()[:-1])
    with pytest.raises(DataError, match="cut short"):
        open_data(f"cifar10:{folder}")
    with pytest.raises(AddressError, match="test, train or all"):
        open_data(f"cifar10:{folder}?split=val")
    with pytest.raises(AddressError, match="needs a path"):
        open_data("cifar10")
