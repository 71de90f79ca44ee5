"""Masks and boxes beside pictures are cut, scaled and turned with them, and refused where they do not fit."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.image_files import save

from demur.data import build_index, open_data
from demur.data.object_masks import read_annotation
from demur.data.source import Row, box_mask
from demur.errors import DataError

HEIGHT, WIDTH = 20, 33
NAMES = ["cat/a.png", "cat/deep/b.png", "dog/a.png", "dog/b.png"]
BLOB = np.zeros((HEIGHT, WIDTH), np.uint8)
BLOB[3:11, 20:31] = 255
SIDEWAYS = 6
"""The EXIF orientation of a camera held upright: what is stored lies on its left side."""


def rows_of(address):
    source = open_data(address)
    return list(source.read(range(len(source))))


def seen(mask):
    """A mask as a picture: what is marked is white, so that picture and mark can be laid on each other."""
    return Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8))


def voc(*objects, size=(HEIGHT, WIDTH)):
    told = "".join(
        f"<object><name>{name}</name><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax>"
        f"<ymax>2</ymax></bndbox></part><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax>"
        f"<ymax>{box[3]}</ymax></bndbox></object>"
        for name, box in objects
    )
    return f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>{told}</annotation>"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path):
    save(tmp_path / "set", NAMES, (HEIGHT, WIDTH))
    for name in ("cat/a.png", "dog/b.PNG"):
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        seen(BLOB).save(tmp_path / "masks" / name)
    write(tmp_path / "boxes/cat/a.xml", voc(("cat", (21, 4, 31, 11))))
    return tmp_path / "set"


def test_masks_lie_where_the_pictures_lie_in_their_folder(root):
    rows = rows_of(f"folder:{root}?masks=../masks")
    assert rows[0].mask.dtype == torch.bool
    assert torch.equal(rows[0].mark, torch.from_numpy(BLOB > 0))
    assert [row.mark is None for row in rows] == [False, True, True, False]
    assert all(row.mark is None for row in rows_of(f"folder:{root}"))
    assert rows_of(f"folder:{root}?masks={root.parent / 'masks'}")[3].mark.sum() == 8 * 11


def test_a_box_of_voc_counts_from_one_and_the_last_pixel_in(root):
    row = rows_of(f"folder:{root}?boxes=../boxes")[0]
    assert row.box == (20, 3, 31, 11)
    assert torch.equal(row.mark, torch.from_numpy(BLOB > 0))
    assert row.mask is None


def test_of_mask_and_box_the_mask_counts_and_either_is_enough(root):
    write(root.parent / "boxes/cat/a.xml", voc(("cat", (1, 1, 1, 1))))
    write(root.parent / "boxes/dog/a.xml", voc(("dog", (1, 1, 2, 3))))
    rows = rows_of(f"folder:{root}?masks=../masks&boxes=../boxes")
    assert [None if row.mark is None else int(row.mark.sum()) for row in rows] == [88, None, 6, 88]


@pytest.mark.parametrize(
    "option", ["size=40x66", "size=10x16", "size=7", "size=12&crop=center", "size=28x19&crop=center"]
)
def test_a_mask_moves_with_its_picture(root, option):
    seen(BLOB).save(root / "cat/a.png")
    row = rows_of(f"folder:{root}?masks=../masks&{option}")[0]
    height, width = row.image.shape[1:]
    left, top, right, bottom = 0.0, 0.0, float(WIDTH), float(HEIGHT)
    if "crop" in option:
        scale = min(HEIGHT / height, WIDTH / width)
        left, top = (WIDTH - width * scale) / 2, (HEIGHT - height * scale) / 2
        right, bottom = left + width * scale, top + height * scale
    down = (top + (np.arange(height) + 0.5) * (bottom - top) / height).astype(int)
    across = (left + (np.arange(width) + 0.5) * (right - left) / width).astype(int)
    nearest = torch.from_numpy(BLOB[np.ix_(down, across)] > 0)
    assert torch.equal(row.mark, nearest)
    clear = (row.image[0] < 0.25) | (row.image[0] > 0.75)
    assert torch.equal(row.mark[clear], row.image[0][clear] > 0.5)
    assert 0 < row.mark.sum() < row.mark.numel()


@pytest.mark.parametrize("option", ["size=40x66", "size=12&crop=center", "size=28x19&crop=center"])
def test_a_box_moves_with_its_picture(root, option):
    seen(BLOB).save(root / "cat/a.png")
    row = rows_of(f"folder:{root}?boxes=../boxes&{option}")[0]
    bright = row.image[0] > 0.75
    assert row.mark[bright].all()
    rim = box_mask([row.box], *bright.shape)
    rim[row.box[1] + 1 : row.box[3] - 1, row.box[0] + 1 : row.box[2] - 1] = False
    assert torch.equal(row.mark & ~rim & ~bright, torch.zeros_like(bright))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("size", ["", "&size=66x40"])
def test_marks_belong_to_the_picture_as_it_is_shown(tmp_path, suffix, size):
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    save(tmp_path / "set", ["dog/b.png"], (WIDTH, HEIGHT))
    (tmp_path / "set/cat").mkdir()
    seen(BLOB).save(tmp_path / f"set/cat/a.{suffix}", exif=exif, quality=95)
    (tmp_path / "masks/cat").mkdir(parents=True)
    shown = np.rot90(BLOB, -1)
    seen(shown).save(tmp_path / "masks/cat/a.png")
    write(tmp_path / "boxes/cat/a.xml", voc(("cat", (10, 21, 17, 31)), size=shown.shape))
    for option in ("masks", "boxes"):
        row = rows_of(f"folder:{tmp_path}/set?{option}=../{option}{size}")[0]
        clear = (row.image[0] < 0.2) | (row.image[0] > 0.8)
        assert torch.equal(row.mark[clear], row.image[0][clear] > 0.5)
        assert row.mark.sum() == 88 * (4 if size else 1)


@pytest.mark.parametrize("option", ["masks", "boxes"])
@pytest.mark.parametrize("size", ["", "&size=8"])
def test_marks_of_a_picture_as_it_is_stored_are_refused(tmp_path, option, size):
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    save(tmp_path / "set", ["dog/b.png"], (WIDTH, HEIGHT))
    (tmp_path / "set/cat").mkdir()
    seen(BLOB).save(tmp_path / "set/cat/a.jpg", exif=exif)
    (tmp_path / "masks/cat").mkdir(parents=True)
    seen(BLOB).save(tmp_path / "masks/cat/a.png")
    write(tmp_path / "boxes/cat/a.xml", voc(("cat", (1, 1, 2, 2))))
    with pytest.raises(
        DataError, match=r"cat/a\.(png|xml) marks .* 20×33 .* measures 33×20 .* EXIF .* turn the mark too"
    ):
        rows_of(f"folder:{tmp_path}/set?{option}=../{option}{size}")


def test_boxes_of_its_own_class_count_else_all(root):
    several = (("dog", (1, 1, 33, 20)), ("cat", (1, 1, 2, 1)), ("cat", (5, 20, 5, 20)))
    write(root.parent / "boxes/cat/a.xml", voc(*several))
    write(root.parent / "boxes/dog/a.xml", voc(("wolf", (1, 1, 1, 1)), ("fox", (3, 2, 4, 2))))
    write(root.parent / "boxes/dog/b.xml", voc(("cat", (1, 1, 1, 1)), ("dog", (3, 2, 4, 2))))
    rows = rows_of(f"folder:{root}?boxes=../boxes")
    assert rows[0].box is None
    assert rows[0].mark.nonzero().tolist() == [[0, 0], [0, 1], [19, 4]]
    assert rows[2].mark.nonzero().tolist() == [[0, 0], [1, 2], [1, 3]]
    assert rows[3].box == (2, 1, 4, 2)


def test_boxes_reach_no_further_than_the_picture_and_may_have_fractions(root):
    write(root.parent / "boxes/cat/a.xml", voc(("cat", (-3, 0, 99, 2.5)), size=(0, 0)))
    assert rows_of(f"folder:{root}?boxes=../boxes")[0].box == (0, 0, 33, 3)


def test_marks_inside_the_folder_of_the_data_are_no_class(root):
    (root.parent / "masks").rename(root / "masks")
    (root.parent / "boxes").rename(root / "annotations")
    source = open_data(f"folder:{root}?masks=masks&boxes=annotations")
    assert source.classes == ("cat", "dog")
    assert len(source) == 4
    (root / "masks").rename(root / "cat/masks")
    assert len(open_data(f"folder:{root}?masks=cat/masks&boxes=annotations")) == 4


def test_a_class_may_be_called_images_beside_masks(tmp_path):
    save(tmp_path, ["images/a.png", "paintings/b.png"])
    save(tmp_path / "masks", ["images/a.png"])
    with pytest.raises(DataError, match="is a segmentation set"):
        open_data(f"folder:{tmp_path}")
    assert open_data(f"folder:{tmp_path}?masks=masks").classes == ("images", "paintings")


def test_marks_beside_a_split_in_folders(tmp_path):
    save(tmp_path, [f"{part}/{kind}/{n}.png" for part in ("train", "val") for kind in "ab" for n in range(2)])
    save(tmp_path / "masks", ["val/a/1.png"])
    rows = rows_of(f"folder:{tmp_path}?masks=masks&split=val")
    assert [row.mark is None for row in rows] == [True, False, True, True]
    with pytest.raises(DataError, match=r"any of the 4 images; .* train/a/0\.png has train/a/0\.png or \.bmp"):
        open_data(f"folder:{tmp_path}?masks=masks&split=train")


def test_a_table_of_files_takes_marks_too(root):
    write(root / "list.csv", "path,label\ncat/a.png,kitten\ndog/b.png,puppy\n")
    row, other = rows_of(f"csv:{root / 'list.csv'}?masks=../masks")
    assert row.mark.sum() == other.mark.sum() == 88


def test_what_cannot_be_read_has_no_mark(root):
    (root / "cat/a.png").write_bytes(b"")
    row = rows_of(f"folder:{root}?masks=../masks&boxes=../boxes")[0]
    assert (row.image, row.mask, row.mark) == (None, None, None)


@pytest.mark.parametrize(
    ("box", "size"),
    [((1, 1, 2, 20), "20"), ((32, 1, 33, 20), "20"), ((1, 1, 33, 2), "10x33"), ((1, 19, 33, 20), "10x33")],
)
def test_an_object_that_was_cut_away_is_no_mark(root, box, size):
    write(root.parent / "boxes/cat/a.xml", voc(("cat", box)))
    Image.fromarray(np.eye(HEIGHT, WIDTH, 31, dtype=np.uint8)).save(root.parent / "masks/dog/b.PNG")
    rows = rows_of(f"folder:{root}?boxes=../boxes&masks=../masks&size=20&crop=center")
    assert rows[3].mask.sum() == 0
    assert rows[3].mark is None
    assert rows_of(f"folder:{root}?boxes=../boxes&size={size}&crop=center")[0].mark is None
    assert Row("a", torch.zeros(1, 2, 2), 0, mask=torch.zeros(2, 2, dtype=torch.bool), box=(0, 0, 1, 1)).mark is None


def test_the_index_knows_which_rows_are_marked(root):
    plain = build_index(open_data(f"folder:{root}"))
    marked = build_index(open_data(f"folder:{root}?masks=../masks"))
    assert plain.marks == (None,) * 4
    assert [mark is None for mark in marked.marks] == [False, True, True, False]
    assert marked.marks[0] == marked.marks[3]
    seen(BLOB[::-1]).save(root.parent / "masks/cat/a.png")
    other = build_index(open_data(f"folder:{root}?masks=../masks"))
    assert other.sha256 == plain.sha256
    hashes = [index.rows_sha256.get("marks of objects") for index in (plain, marked, other)]
    assert hashes[0] is None
    assert hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("spoil", "option", "says"),
    [
        (lambda home: None, "masks=nowhere", "`masks` must name a folder; there is no folder .*nowhere"),
        (lambda home: None, "boxes=", "`boxes` must name a folder"),
        (lambda home: None, "masks=.", "`masks` must name a folder of its own"),
        (lambda home: (home / "none").mkdir(), "boxes=../none", "so that cat/a.png has cat/a.xml. Move the files"),
        (lambda home: seen(BLOB[1:]).save(home / "masks/cat/a.png"), "masks=../masks",
         r"masks/cat/a.png marks a picture of 19×33 pixels .* measures 20×33 as it is shown; both must"),
        (lambda home: write(home / "masks/cat/a.png", "no picture"), "masks=../masks",
         "cannot read the mask .*masks/cat/a.png: cannot identify image file. Save it again as PNG"),
        (lambda home: write(home / "boxes/cat/a.xml", voc()), "boxes=../boxes", "a.xml has no boxes"),
        (lambda home: write(home / "boxes/cat/a.xml", voc(("cat", (1, 1, 2, "x")))), "boxes=../boxes",
         "a.xml: the object 'cat' has no box"),
        (lambda home: write(home / "boxes/cat/a.xml", voc(("cat", (5, 1, 2, 2)))), "boxes=../boxes", "has no box"),
        (lambda home: write(home / "boxes/cat/a.xml", voc(("cat", (34, 1, 36, 2)))), "boxes=../boxes",
         "a.xml: a box lies outside its picture of 20×33 pixels"),
        (lambda home: write(home / "boxes/cat/a.xml", voc(("cat", (1, 1, 2, 2)), size=(40, 66))), "boxes=../boxes",
         "a.xml marks a picture of 40×66 pixels"),
    ],
)  # fmt: skip
def test_marks_that_fit_nothing_are_refused_by_name(root, spoil, option, says):
    spoil(root.parent)
    with pytest.raises(DataError, match=f"(?s){says}"):
        rows_of(f"folder:{root}?{option}")


LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LAUGHS.encode(), "declares a document type or entities"),
        (LAUGHS.encode("utf-16"), "can't decode byte"),
        (LAUGHS.encode("utf-16-be"), "holds zero bytes"),
        (LAUGHS.encode("utf-16-le"), "holds zero bytes"),
        (('<?xml version="1.0" encoding="utf-7"?>' + LAUGHS.replace("<!", "+ADwAIQ-")).encode(), "not well-formed"),
        (b"<annotation>", "no element found"),
        (b" " * (1 << 20) + b"<annotation/>", "larger than 1 MiB"),
    ],
)
def test_hostile_annotations_are_refused_before_they_are_parsed(tmp_path, content, says):
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(
        DataError, match=rf"cannot read .*a\.xml as an annotation of Pascal VOC: .*{says}.*plain XML in UTF-8"
    ):
        read_annotation(tmp_path / "a.xml")


def test_boxes_of_tiny_imagenet_mark_the_enlarged_picture(tmp_path):
    write(tmp_path / "wnids.txt", "n01\nn02\n")
    write(tmp_path / "words.txt", "n01\tcrane\nn02\tgoldfish\n")
    shape = np.zeros((64, 64), np.uint8)
    shape[10:21, 4:51] = 255
    (tmp_path / "val/images").mkdir(parents=True)
    for number in range(2):
        seen(shape).save(tmp_path / f"val/images/val_{number}.JPEG", quality=95)
    write(tmp_path / "val/val_annotations.txt", "val_0.JPEG\tn01\t4\t10\t50\t20\nval_1.JPEG\tn02\t0\t0\t63\t63\n")
    first, whole = rows_of(f"tiny-imagenet:{tmp_path}?size=224")
    assert first.box == (14, 35, 179, 74)
    assert first.mark.sum() == (179 - 14) * (74 - 35)
    inside = first.mark[(first.image[0] > 0.8)]
    assert inside.all()
    assert whole.mark.all()


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="needs DEMUR_SHARED")
@pytest.mark.parametrize("side", [64, 160, 224])
def test_every_real_image_of_tiny_imagenet_is_marked(side):
    source = open_data(f"tiny-imagenet:{os.environ['DEMUR_SHARED']}/data/tiny-imagenet?size={side}")
    shares = [float(row.mark.double().mean()) for row in source.read(range(0, 2000, 40))]
    boxes = [row.box for row in source.read(range(0, 2000, 40))]
    areas = [(right - left) * (bottom - top) / side**2 for left, top, right, bottom in boxes]
    assert shares == pytest.approx(areas)
    assert 0.2 < np.mean(shares) < 0.7


def test_a_row_without_an_image_has_no_mark():
    assert Row("a", None, 0, box=(0, 0, 1, 1)).mark is None
