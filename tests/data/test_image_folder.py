import os

import numpy as np
import pytest
from tests.data.image_files import picture, save

from demur.data import build_index, open_data
from demur.errors import AddressError, DataError

NAMES = ["cat/a.png", "cat/deep/b.png", "dog/a.png", "dog/b.png"]


def rows_of(address):
    source = open_data(address)
    return list(source.read(range(len(source))))


def test_sub_folders_are_classes(tmp_path):
    save(tmp_path, NAMES)
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    source = open_data(f"folder:{tmp_path}")
    assert source.classes == ("cat", "dog")
    assert source.input_shape == (1, 4, 5)
    assert [row.sample_id for row in source.read([3, 0, 1, 2])] == ["dog/b.png", *NAMES[:3]]
    assert [row.label for row in source.read(range(4))] == [0, 0, 1, 1]
    for number, row in enumerate(source.read(range(4))):
        np.testing.assert_array_equal((row.image[0] * 255).round(), np.asarray(picture(number)))


def test_what_systems_and_archives_leave_behind_is_no_class_and_no_image(tmp_path):
    junk = [
        "__MACOSX/cat/._a.png",
        "@eaDir/a.png",
        ".ipynb_checkpoints/a.png",
        "lost+found/a.png",
        "$RECYCLE.BIN/a.png",
    ]
    save(tmp_path, [*NAMES, *junk, "cat/@eaDir/a.png", "dog/__MACOSX/b.png", "dog/.ipynb_checkpoints/a.png"])
    (tmp_path / "dog" / "Thumbs.db").write_bytes(b"x")
    assert [row.sample_id for row in rows_of(f"folder:{tmp_path}")] == NAMES
    assert open_data(f"folder:{tmp_path}").classes == ("cat", "dog")


def test_the_classes_of_the_model_settle_what_an_empty_folder_means(tmp_path):
    save(tmp_path, NAMES)
    (tmp_path / "bee").mkdir()
    assert [row.label for row in rows_of(f"folder:{tmp_path}?classes=cat,dog")] == [0, 0, 1, 1]
    source = open_data(f"folder:{tmp_path}?classes=bee,cat,dog")
    assert (source.classes, len(build_index(source))) == (("bee", "cat", "dog"), 4)


def test_an_at_sign_belongs_to_the_path(tmp_path):
    save(tmp_path / "set@2", NAMES)
    assert len(open_data(f"folder:{tmp_path / 'set@2'}")) == 4


def test_a_split_in_folders_is_respected(tmp_path):
    save(tmp_path, [f"{part}/{kind}/{n}.png" for part in ("train", "Val", "test") for kind in "ab" for n in range(3)])
    rows = rows_of(f"folder:{tmp_path}")
    assert {row.sample_id.partition("/")[0]: row.split for row in rows} == {
        "train": "train",
        "Val": "val",
        "test": "test",
    }
    assert [row.split for row in rows_of(f"folder:{tmp_path}?split=test")] == ["test"] * 6
    index = build_index(open_data(f"folder:{tmp_path}"))
    assert len(index.rows_of("train")) == 6
    assert len(index.rows_of("test")) == 6
    assert len(build_index(open_data(f"folder:{tmp_path}"), held_out=True)) == 12


def test_classes_may_be_called_like_splits(tmp_path):
    save(tmp_path, ["train/1.png", "train/2.png", "test/1.png"])
    assert open_data(f"folder:{tmp_path}").classes == ("test", "train")


def test_a_table_beside_says_more(tmp_path):
    save(tmp_path, NAMES)
    (tmp_path / "metadata.csv").write_text(
        "file;group;split;label2;label_weight;site;age;a,b\n"
        "cat/a.png;p1;val;dog;0.5;north;31;x\n"
        "./dog/a.png;p2;test;;;south;;y\n"
        "dog/b.png;p2;test;dog;1;007;12.5;z\n"
    )
    first, plain, third, fourth = rows_of(f"folder:{tmp_path}")
    assert (first.group, first.split, first.label2, first.weight) == ("p1", "val", 1, 0.5)
    assert first.meta == {"site": "north", "age": 31.0, "a,b": "x"}
    assert (plain.group, plain.split, plain.meta) == (None, None, {})
    assert (third.label2, third.weight, third.meta["age"]) == (None, None, None)
    assert fourth.meta == {"site": "007", "age": 12.5, "a,b": "z"}
    index = build_index(open_data(f"folder:{tmp_path}"))
    assert index.meta["age"] == (31.0, None, None, 12.5)
    assert index.labels2 == (1, None, None, 1)
    assert index.weights == (0.5, None, None, 1.0)


def test_broken_files_are_rows_with_reasons(tmp_path):
    save(tmp_path, [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(5)])
    (tmp_path / "cat/empty.png").write_bytes(b"")
    (tmp_path / "cat/notes.txt").write_text("not a picture")
    (tmp_path / "dog/cut.png").write_bytes((tmp_path / "dog/0.png").read_bytes()[:50])
    (tmp_path / "dog/gone.png").symlink_to("nowhere.png")
    (tmp_path / "dog/loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "dog/pipe.png")
    picture(99, (9, 9)).save(tmp_path / "dog/odd.png")
    index = build_index(open_data(f"folder:{tmp_path}"))
    errors = {name: error for name, error in zip(index.sample_ids, index.errors, strict=True) if error}
    assert errors == {
        "cat/empty.png": "no image bytes",
        "cat/notes.txt": "cannot decode the image: cannot identify image file",
        "dog/cut.png": errors["dog/cut.png"],
        "dog/gone.png": "cannot read the file: No such file or directory",
        "dog/loop.png": "cannot read the file: Too many levels of symbolic links",
        "dog/pipe.png": "cannot read the file: not a regular file",
        "dog/odd.png": "size 1×9×9 in a set of 1×4×5 images",
    }
    assert errors["dog/cut.png"].startswith("cannot decode the image: ")
    assert len(index) == 17


def test_a_link_to_a_folder_is_followed_and_a_circle_refused(tmp_path):
    save(tmp_path / "set", NAMES)
    save(tmp_path / "elsewhere", ["x.png"])
    (tmp_path / "set/dog/more").symlink_to(tmp_path / "elsewhere")
    assert len(open_data(f"folder:{tmp_path / 'set'}")) == 5
    (tmp_path / "set/dog/again").symlink_to(tmp_path / "set")
    with pytest.raises(DataError, match="leads back"):
        open_data(f"folder:{tmp_path / 'set'}")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda root: None, "has no sub-folders"),
        (lambda root: (root / "metadata.csv").write_text("path,label\n"), "csv:.*metadata.csv"),
        (lambda root: [save(root, NAMES), (root / "emu").mkdir()],
         r"class folder 'emu' of .* holds no images.*\?classes=cat,dog without it, \?classes=cat,dog,emu with"),
        (lambda root: [save(root, NAMES), (root / "metadata.csv").write_text("path,group\ncat/z.png,1\n")],
         "line 2: there is no image 'cat/z.png'"),
        (lambda root: [save(root, NAMES), (root / "metadata.csv").write_text("path,split\ncat/a.png,first\n")],
         "line 2: the split 'first' is not understood"),
        (lambda root: [save(root, NAMES), (root / "metadata.csv").write_text("path,label2\ncat/a.png,emu\n")],
         "line 2: the label 'emu' is not among the 2 classes"),
        (lambda root: [save(root, NAMES), (root / "metadata.csv").write_text("path,label_weight\ncat/a.png,-1\n")],
         "line 2: a label weight must be a number of 0 or more; got '-1'"),
    ],
)  # fmt: skip
def test_unusable_folders_are_refused(tmp_path, prepare, says):
    prepare(tmp_path)
    with pytest.raises(DataError, match=says):
        open_data(f"folder:{tmp_path}")


def test_one_class_and_no_folder_and_unknown_options_are_refused(tmp_path):
    save(tmp_path / "set", NAMES[:2])
    with pytest.raises(DataError, match="are of one class, 'cat'"):
        build_index(open_data(f"folder:{tmp_path / 'set'}"))
    with pytest.raises(DataError, match="there is no folder"):
        open_data(f"folder:{tmp_path / 'none'}")
    with pytest.raises(AddressError, match=r"unknown option 'sizes'. Did you mean 'size'"):
        open_data(f"folder:{tmp_path / 'set'}?sizes=3")
    with pytest.raises(DataError, match="no rows of the split 'test'"):
        open_data(f"folder:{tmp_path / 'set'}?split=test")


def test_many_sizes_need_one(tmp_path):
    for number in range(8):
        save(tmp_path / f"{number % 2}", [f"{number}.png"], (10 + number, 12))
    with pytest.raises(DataError, match=r"come in many sizes.*\?size=HEIGHTxWIDTH"):
        open_data(f"folder:{tmp_path}")
    assert open_data(f"folder:{tmp_path}?size=6x8&crop=center").input_shape == (1, 6, 8)
    assert open_data(f"folder:{tmp_path}?size=6&colour=rgb").input_shape == (3, 6, 6)


def test_a_folder_that_cannot_be_read_counts_and_stops_nothing(tmp_path, monkeypatch):
    save(tmp_path, [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(5)])
    save(tmp_path, ["dog/shut/a.png", "dog/shut/b.png"])
    scandir = os.scandir

    def refusing(path):
        if os.fspath(path).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    index = build_index(open_data(f"folder:{tmp_path}"))
    assert [(name, error) for name, error in zip(index.sample_ids, index.errors, strict=True) if error] == [
        ("dog/shut", "cannot read the file: Permission denied")
    ]
    monkeypatch.setattr(os, "scandir", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(DataError, match=r"cannot read the folder .*: Permission denied. Correct its rights"):
        open_data(f"folder:{tmp_path}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_without_rights_counts(tmp_path):
    save(tmp_path, ["cat/1.png", "cat/2.png", "dog/1.png", "dog/shut/2.png"])
    (tmp_path / "dog/shut").chmod(0)
    assert build_index(open_data(f"folder:{tmp_path}")).errors.count("cannot read the file: Permission denied") == 1
    (tmp_path / "dog/shut").chmod(0o755)


def test_files_come_by_name_and_depth_and_links_are_followed(tmp_path):
    names = ["cat/b/2.png", "cat/a.png", "cat/b.png", "cat/b/1.png", "cat/B/9.png", "dog/z.png"]
    save(tmp_path, names)
    (tmp_path / "dog" / "a").symlink_to(tmp_path / "cat" / "b")
    rows = rows_of(f"folder:{tmp_path}")
    assert [row.sample_id for row in rows] == [
        "cat/B/9.png", "cat/a.png", "cat/b/1.png", "cat/b/2.png", "cat/b.png", "dog/a/1.png", "dog/a/2.png",
        "dog/z.png",
    ]  # fmt: skip


def test_a_name_that_is_no_text_is_read_with_its_marks_and_shown_by_its_bytes(tmp_path):
    save(tmp_path, ["set/cat/a.png", "set/dog/a.png", "masks/cat/a.png", "masks/dog/a.png"])
    for folder in ("set", "masks"):
        (tmp_path / folder / "dog/a.png").rename(tmp_path / folder / "dog/caf\udce9.png")
    first, second = rows_of(f"folder:{tmp_path / 'set'}?masks=../masks")
    assert (first.sample_id, second.sample_id) == ("cat/a.png", "dog/caf\\xe9.png")
    assert second.mask is not None
