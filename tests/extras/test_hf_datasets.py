"""Data sets that the library of Hugging Face saved itself are the images it was given, however they lie on the disk."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from demur.data import from_given, open_data
from demur.errors import AddressError, DataError
from demur.testing import check_data

datasets = pytest.importorskip("datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 6, 7, 3), dtype=np.uint8)
PICTURES = [Image.fromarray(each) for each in PIXELS]
LABELS = [0, 1] * 4


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def dataset():
    features = datasets.Features({
        "image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]),
        "who": datasets.Value("string"), "age": datasets.Value("int32"),
        "tags": datasets.Sequence(datasets.Value("int32")),
    })  # fmt: skip
    cells = {"image": PICTURES, "label": LABELS, "who": list("aabbccdd"), "age": range(8), "tags": [[1]] * 8}
    return datasets.Dataset.from_dict({name: list(each) for name, each in cells.items()}, features=features)


def is_the_set(address, classes=("cat", "dog")):
    source = open_data(address)
    check_data(source)
    rows = list(source.read(range(8)))
    images = torch.stack([row.image for row in rows])
    assert torch.equal(images, torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255)
    assert [row.label for row in rows] == LABELS
    assert source.classes == classes
    return rows


def test_what_the_library_saved_is_read(dataset, tmp_path):
    dataset.save_to_disk(tmp_path / "one")
    rows = is_the_set(f"hf:{tmp_path}/one?group=who&meta=age")
    assert [row.group for row in rows] == list("aabbccdd")
    assert rows[3].meta == {"age": 3.0}
    assert {row.split for row in rows} == {None}


def test_splits_are_named_and_known(dataset, tmp_path):
    datasets.DatasetDict({"train": dataset, "test": dataset}).save_to_disk(tmp_path / "both")
    assert {row.split for row in is_the_set(f"hf:{tmp_path}/both")} == {"test"}
    assert {row.split for row in is_the_set(f"hf:{tmp_path}/both?split=train")} == {"train"}
    with pytest.raises(DataError, match="has no split 'val'; it has test, train"):
        open_data(f"hf:{tmp_path}/both?split=val")


def test_files_of_parquet_and_folders_of_images_are_read(dataset, tmp_path):
    (tmp_path / "pq").mkdir()
    dataset.to_parquet(tmp_path / "pq" / "test-00000-of-00001.parquet")
    is_the_set(f"hf:{tmp_path}/pq")
    is_the_set(f"hf:{tmp_path}/pq/test-00000-of-00001.parquet")
    for number, (picture, label) in enumerate(zip(PICTURES, LABELS, strict=True)):
        path = tmp_path / "files" / ["cat", "dog"][label] / f"lot{number // 4}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    source = open_data(f"hf:{tmp_path}/files?group=lot[0-9]")
    check_data(source)
    assert sorted({row.group for row in source.read(range(8))}) == ["lot0", "lot1"]


def test_images_are_decoded_by_the_rules_of_the_address(dataset, tmp_path):
    dataset.save_to_disk(tmp_path / "one")
    assert open_data(f"hf:{tmp_path}/one?size=4x5&colour=grey&interpolation=bicubic").input_shape == (1, 4, 5)


def test_labels_of_plain_numbers_and_names(dataset, tmp_path):
    plain = dataset.cast_column("label", datasets.Value("int64"))
    plain.save_to_disk(tmp_path / "numbers")
    is_the_set(f"hf:{tmp_path}/numbers", ("0", "1"))
    is_the_set(f"hf:{tmp_path}/numbers?classes=x,y", ("x", "y"))
    assert open_data(f"hf:{tmp_path}/numbers?label=who").classes == ("a", "b", "c", "d")


def test_a_broken_image_is_a_row_with_a_reason(dataset, tmp_path):
    out = io.BytesIO()
    PICTURES[0].save(out, "PNG")
    cells = [out.getvalue(), b"no image", b"", None]
    images = datasets.Features({"image": datasets.Value("binary"), "label": datasets.Value("string")})
    datasets.Dataset.from_dict({"image": cells, "label": list("abab")}, features=images).save_to_disk(tmp_path / "b")
    rows = list(open_data(f"hf:{tmp_path}/b").read(range(4)))
    assert rows[0].error is None
    assert [row.error for row in rows[1:]] == [
        "cannot decode the image: cannot identify image file", "no image bytes", "no image bytes"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ("?image=who", DataError, "images must be of the feature Image"),
        ("?image=none", DataError, "unknown column 'none'"),
        ("?label=tags", DataError, "is multi-label: the column 'tags'"),
        ("?label=none", DataError, "unknown column 'none'"),
        ("?download=maybe", AddressError, "`download` must be yes or no"),
        ("?sizes=3", AddressError, "unknown option 'sizes'"),
    ],
)
def test_what_cannot_be_used_is_refused(dataset, tmp_path, options, error, says):
    dataset.save_to_disk(tmp_path / "one")
    with pytest.raises(error, match=says):
        open_data(f"hf:{tmp_path}/one{options}")


def test_the_network_is_not_asked_without_the_option(monkeypatch):
    import socket

    def refused(*_args, **_named):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    before = datasets.config.HF_HUB_OFFLINE
    with pytest.raises(DataError, match=r"not in the cache on this disk: \?download=yes fetches it"):
        open_data("hf:nobody/nothing-at-all")
    assert before == datasets.config.HF_HUB_OFFLINE


def test_folders_that_would_run_code_are_refused(tmp_path):
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DataError, match="cannot read the data set"):
        open_data(f"hf:{tmp_path}/script")
    assert not (tmp_path / "ran").exists()


def test_in_python_a_data_set_needs_no_address(dataset):
    source = from_given(dataset)
    check_data(source)
    assert source.classes == ("cat", "dog")
    stream = from_given(dataset.to_iterable_dataset())
    check_data(stream)
    both = [torch.stack([row.image for row in each.read(range(8))]) for each in (source, stream)]
    assert torch.equal(*both)
