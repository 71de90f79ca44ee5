import io
import json
import os

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from demur.data import build_index, open_data
from demur.errors import DataError, InputError


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (600, 4, 6, 3), dtype=np.uint8)


@pytest.fixture
def table(pixels):
    return pl.DataFrame(
        {
            "image": [{"bytes": png(image), "path": None} for image in pixels],
            "label": [row % 3 for row in range(600)],
            "patient": [row // 10 for row in range(600)],
        }
    )


@pytest.fixture
def write(tmp_path):
    def written(table, **metadata):
        table.write_parquet(tmp_path / "set.parquet", metadata=metadata or None)
        return f"parquet:{tmp_path / 'set.parquet'}"

    return written


def test_what_was_written_is_read(write, table, pixels):
    source = open_data(write(table, classes="cat,dog,emu"))
    wanted = [0, 255, 256, 599, 3]
    rows = list(source.read(wanted))
    assert len(source) == 600
    assert source.input_shape == (3, 4, 6)
    assert source.classes == ("cat", "dog", "emu")
    assert [row.sample_id for row in rows] == ["000000", "000255", "000256", "000599", "000003"]
    assert [row.label for row in rows] == [row % 3 for row in wanted]
    for row, position in zip(rows, wanted, strict=True):
        assert row.image.dtype == torch.float32
        np.testing.assert_array_equal((row.image * 255).round().permute(1, 2, 0).numpy(), pixels[position])


def test_columns_and_groups_can_be_named(write, table):
    flat = table.select(pl.col("image").struct.field("bytes").alias("photo"), pl.col("label").alias("y"), "patient")
    address = write(flat) + "?image=photo&label=y&group=patient&classes=a,b,c"
    source = open_data(address)
    index = build_index(source)
    assert source.address == address
    assert source.classes == ("a", "b", "c")
    assert index.group_count == 60
    assert index.groups[25] == "2"


@pytest.mark.parametrize(
    ("labels", "metadata", "classes", "second"),
    [
        ([0, 2, 1], {}, ("0", "1", "2"), 2),
        (["dog", "cat", "dog"], {}, ("cat", "dog"), 0),
        (["dog", "cat", "dog"], {"classes": "dog,cat"}, ("dog", "cat"), 1),
        (
            [0, 1, 0],
            {
                "huggingface": json.dumps(
                    {"info": {"features": {"label": {"names": ["cat", "dog, wet"], "_type": "ClassLabel"}}}}
                )
            },
            ("cat", "dog, wet"),
            1,
        ),
        ([0, 1, 0], {"huggingface": json.dumps({"info": {"features": {}}})}, ("0", "1"), 1),
    ],
)
def test_where_class_names_come_from(write, table, labels, metadata, classes, second):
    few = table.head(3).with_columns(pl.Series("label", labels))
    source = open_data(write(few, **metadata))
    assert source.classes == classes
    assert next(iter(source.read([1]))).label == second


def test_a_broken_image_is_a_row_with_a_reason(write, table):
    images = table["image"].to_list()
    images[0]["bytes"], images[1]["bytes"], images[2]["bytes"] = (
        b"not an image",
        None,
        png(np.zeros((9, 9, 3), np.uint8)),
    )
    index = build_index(open_data(write(table.with_columns(pl.Series("image", images)))))
    assert index.errors[0].startswith("cannot decode")
    assert index.errors[1] == "no image bytes"
    assert index.errors[2] == "size 3×9×9 in a set of 3×4×6 images"
    assert index.errors[3:] == (None,) * 597


def test_a_missing_label_is_refused(write, table):
    few = table.head(3).with_columns(pl.Series("label", [0, None, 1]))
    with pytest.raises(DataError, match=r"set.parquet, row 1: the label is missing"):
        open_data(write(few))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?label=labels", "unknown column 'labels'. Did you mean 'label'"),
        ("?image=label&label=patient", "must be encoded bytes"),
        ("?crops=center", "unknown option 'crops'. Did you mean 'crop'"),
        ("?split=test", "has no rows of the split 'test'; it has no split"),
        ("?meta=patient,site", "unknown column 'site'"),
    ],
)
def test_wrong_options_are_refused(write, table, query, says):
    with pytest.raises(InputError, match=says):
        open_data(write(table.head(3)) + query)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        open_data(f"parquet:{tmp_path / 'none.parquet'}")
    (tmp_path / "text.parquet").write_text("label,image\n")
    with pytest.raises(DataError, match=r"cannot read .* as Parquet"):
        open_data(f"parquet:{tmp_path / 'text.parquet'}")


def test_no_image_at_all_is_refused(write, table):
    few = table.head(3).with_columns(pl.Series("image", [b"x", None, b"y"]))
    with pytest.raises(DataError, match="none of 3 images"):
        open_data(write(few))


def test_the_usual_kind_of_image_decides(write, table):
    images = table["image"].to_list()
    images[0]["bytes"] = png(np.full((4, 6), 51, np.uint8))
    source = open_data(write(table.with_columns(pl.Series("image", images))))
    torch.testing.assert_close(next(iter(source.read([0]))).image, torch.full((3, 4, 6), 0.2))


def test_group_split_second_label_weight_and_meta_are_columns(write, table):
    few = table.head(6).with_columns(
        pl.Series("split", ["train", "train", "val", "val", "test", None]),
        pl.Series("label2", [0, 1, 2, 0, 1, None]),
        pl.Series("label_weight", [1.0, 0.5, None, 1.0, 1.0, 0.0]),
        pl.Series("age", [30, None, 41, 42, 43, 44]),
        pl.Series("meta.site", ["a", "b", None, "a", "b", "a"]),
    )
    rows = list(open_data(write(few) + "?meta=age").read(range(6)))
    assert [row.split for row in rows] == ["train", "train", "val", "val", "test", None]
    assert [row.label2 for row in rows] == [0, 1, 2, 0, 1, None]
    assert [row.weight for row in rows] == [1.0, 0.5, None, 1.0, 1.0, 0.0]
    assert rows[0].meta == {"site": "a", "age": 30.0}
    assert rows[1].meta == {"site": "b", "age": None}
    picked = open_data(write(few) + "?split=val&splits=split")
    assert [row.sample_id for row in picked.read(range(2))] == ["000002", "000003"]
    assert len(picked) == 2


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"label": [[0, 1], [1], [2]]}, "is multi-label: the column 'label' holds List"),
        ({"label": ["cat|dog", "cat", "dog"]}, "is multi-label: the label 'cat|dog' names several"),
        ({"label": [0.25, 1.0, 3.5]}, "is a regression set: the label 0.25 is no whole number"),
        ({"label": [b"x", b"y", b"z"]}, "is a segmentation set: the column 'label' holds images"),
        ({"label": None, "objects": [1, 2, 3]}, "is a detection set: it has the column 'objects'"),
    ],
)
def test_other_tasks_are_refused_by_name(write, table, columns, says):
    few = table.head(3)
    for name, values in columns.items():
        few = few.drop(name) if values is None else few.with_columns(pl.Series(name, values))
    with pytest.raises(DataError, match=says.replace("|", r"\|")):
        open_data(write(few))


def test_a_damaged_file_is_refused(write, table, tmp_path):
    write(table)
    content = bytearray((tmp_path / "set.parquet").read_bytes())
    content[100:2000] = bytes(1900)
    (tmp_path / "set.parquet").write_bytes(content)
    with pytest.raises(DataError, match="as Parquet"):
        build_index(open_data(f"parquet:{tmp_path / 'set.parquet'}"))


def test_no_window_is_decoded_twice(write, table, pixels, monkeypatch):
    monkeypatch.setattr("demur.data.parquet._WINDOW", 70)
    source = open_data(write(table))
    monkeypatch.setattr(pl, "scan_parquet", None)
    order = np.random.default_rng(1).permutation(600).tolist()
    for row, position in zip(source.read(order), order, strict=True):
        np.testing.assert_array_equal((row.image * 255).round().permute(1, 2, 0).numpy(), pixels[position])


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="needs DEMUR_SHARED")
def test_real_images():
    source = open_data(f"parquet:{os.environ['DEMUR_SHARED']}/data/cifar10/test.parquet")
    index = build_index(source, limit=1000)
    assert source.input_shape == (3, 32, 32)
    assert source.classes[0] == "airplane"
    assert len(index) == 1000
    assert set(index.errors) == {None}
