import os

import pytest
from tests.data.image_files import save

from demur.data import build_index, open_data
from demur.errors import AddressError, DataError

WNIDS = ["n03", "n01", "n02"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    (tmp_path / "words.txt").write_text("n01\tcrane, bird\nn02\tcrane, machine\nn03\tgoldfish, Carassius\nn04\tother\n")
    save(tmp_path / "val/images", [f"val_{number}.JPEG" for number in range(6)], (64, 64, 3))
    save(tmp_path / "val/images", ["val_5.JPEG"], (64, 64))
    lines = [f"val_{number}.JPEG\t{WNIDS[number % 3]}\t{number}\t10\t40\t63\n" for number in range(6)]
    (tmp_path / "val/val_annotations.txt").write_text("".join(lines))
    for synset in WNIDS:
        save(tmp_path / f"train/{synset}/images", [f"{synset}_0.JPEG", f"{synset}_1.JPEG"], (64, 64, 3))
        boxes = f"{synset}_0.JPEG\t0\t10\t63\t58\n{synset}_1.JPEG\t1\t1\t2\t2\n"
        (tmp_path / f"train/{synset}/{synset}_boxes.txt").write_text(boxes)
    return tmp_path


def test_the_validation_part_is_the_default(folder):
    source = open_data(f"tiny-imagenet:{folder}")
    rows = list(source.read(range(6)))
    assert source.classes == ("crane (n01)", "crane (n02)", "goldfish")
    assert [row.label for row in rows] == [2, 0, 1, 2, 0, 1]
    assert rows[1].sample_id == "val/images/val_1.JPEG"
    assert rows[1].box == (1, 10, 41, 64)
    assert rows[1].meta == {"synset": "n01"}
    assert rows[5].image.shape == (3, 64, 64)
    assert build_index(source).boxes[1] == (1, 10, 41, 64)


def test_boxes_follow_the_size(folder):
    assert next(open_data(f"tiny-imagenet:{folder}?size=32").read([2])).box == (1, 5, 21, 32)


def test_the_training_part_is_for_training(folder):
    source = open_data(f"tiny-imagenet:{folder}?split=all")
    rows = list(source.read(range(12)))
    assert [row.split for row in rows] == ["train"] * 6 + ["val"] * 6
    assert rows[0].sample_id == "train/n01/images/n01_0.JPEG"
    assert rows[0].box == (0, 10, 64, 59)
    assert len(open_data(f"tiny-imagenet:{folder}?split=train")) == 6


def test_other_folders_are_refused(folder, tmp_path):
    with pytest.raises(AddressError, match="have no labels"):
        open_data(f"tiny-imagenet:{folder}?split=test")
    with pytest.raises(DataError, match=r"there is no file .*wnids.txt"):
        open_data(f"tiny-imagenet:{tmp_path / 'none'}")
    (folder / "val/val_annotations.txt").write_text("val_0.JPEG\tn99\t0\t0\t1\t1\n")
    with pytest.raises(DataError, match="line 1: expected a file, a synset"):
        open_data(f"tiny-imagenet:{folder}")
    (folder / "val/val_annotations.txt").write_text("val_0.JPEG\tn01\t0\t0\t1\tx\n")
    with pytest.raises(DataError, match="line 1: a box is four whole numbers"):
        open_data(f"tiny-imagenet:{folder}")


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="needs DEMUR_SHARED")
def test_real_images():
    source = open_data(f"tiny-imagenet:{os.environ['DEMUR_SHARED']}/data/tiny-imagenet")
    index = build_index(source)
    assert (len(index), len(source.classes), source.input_shape) == (2000, 200, (3, 64, 64))
    assert len(set(source.classes)) == 200
    assert set(index.errors) == {None}
    assert all(0 <= left < right <= 64 and 0 <= top < bottom <= 64 for left, top, right, bottom in index.boxes)
