import json

import pytest
from tests.data.image_files import save

from demur.data import open_data
from demur.errors import DataError


def coco(root):
    save(root, ["images/a.png"])
    (root / "annotations").mkdir()
    (root / "annotations/instances_val.json").write_text(
        json.dumps({"images": [], "annotations": [], "categories": []})
    )


def coco_of_a_large_file(root):
    save(root, ["train/a.png"])
    filler = ", ".join(["0"] * 1_000_000)
    text = f'{{"images": [{filler}], "annotations": [{filler}], "categories": []}}'
    (root / "train/_annotations.coco.json").write_text(text)


def voc(root):
    save(root, ["JPEGImages/a.png"])
    (root / "Annotations").mkdir()
    (root / "Annotations/a.xml").write_text("<annotation/>")


def yolo(root):
    save(root, ["images/train/a.png"])
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/train/a.txt").write_text("0 .5 .5 .1 .1\n")


def yolo_of_parts(root):
    save(root, ["train/images/a.png"])
    (root / "train/labels").mkdir()
    (root / "data.yaml").write_text("nc: 1\n")


def masks(root):
    save(root, ["images/a.png", "masks/a.png"])


def cityscapes(root):
    save(root, ["leftImg8bit/val/a.png", "gtFine/val/a.png"])


@pytest.mark.parametrize(
    ("layout", "task"),
    [
        (coco, "is a detection set: annotations/instances_val.json lists"),
        (coco_of_a_large_file, "is a detection set"),
        (voc, "is a detection set: .*Pascal VOC"),
        (yolo, "is a detection set: .*YOLO"),
        (yolo_of_parts, "is a detection set: .*YOLO"),
        (masks, "is a segmentation set: it has the folders images and masks"),
        (cityscapes, "is a segmentation set"),
    ],
)
def test_a_folder_of_another_task_is_refused_by_name(tmp_path, layout, task):
    layout(tmp_path)
    with pytest.raises(DataError, match=rf"(?s){task}.*one of several classes.*(Cut the objects|Give one label)"):
        open_data(f"folder:{tmp_path}")


def test_other_json_files_are_no_sign(tmp_path):
    save(tmp_path, ["cat/a.png", "dog/b.png"])
    (tmp_path / "about.json").write_text('{"images": 2}')
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "list.json").write_text("[1, 2]")
    assert len(open_data(f"folder:{tmp_path}")) == 2
