import json
import os

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


def labelled(place, *labels):
    (place / "list.csv").write_text("path,label\n" + "".join(f"{at}.png,{each}\n" for at, each in enumerate(labels)))
    save(place, [f"{at}.png" for at in range(len(labels))])
    return f"csv:{place / 'list.csv'}"


def test_a_bar_or_semicolon_may_stand_in_the_name_of_a_class(tmp_path):
    assert open_data(labelled(tmp_path, "red|round", "blue;flat", "red|round")).classes == ("blue;flat", "red|round")


@pytest.mark.parametrize("labels", [("a|b", "a"), ("a;c", "b;c"), ("a|b", "b|a"), ("a|a", "x")])
def test_a_part_that_stands_elsewhere_too_is_a_label_of_its_own(tmp_path, labels):
    with pytest.raises(DataError, match=r"is multi-label: .* unless \?classes="):
        open_data(labelled(tmp_path, *labels))


def test_names_that_are_declared_are_one_class_each(tmp_path):
    source = open_data(labelled(tmp_path, "a|b", "a", "[x]") + "?classes=a,a|b,[x]")
    assert [row.label for row in source.read(range(3))] == [1, 0, 2]


def test_a_pipe_among_json_files_is_not_waited_for(tmp_path):
    save(tmp_path, ["cat/a.png", "dog/b.png"])
    os.mkfifo(tmp_path / "list.json")
    assert len(open_data(f"folder:{tmp_path}")) == 2
