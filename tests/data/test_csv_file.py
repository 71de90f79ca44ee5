import numpy as np
import pytest
from tests.data.image_files import picture, save

from demur.data import build_index, open_data
from demur.errors import AddressError, DataError

NAMES = ["images/a.png", "images/b.png", "images/c.png", "images/d.png"]


@pytest.fixture
def write(tmp_path):
    save(tmp_path, NAMES)

    def written(text, encoding="utf-8"):
        (tmp_path / "set.csv").write_bytes(text.encode(encoding))
        return f"csv:{tmp_path / 'set.csv'}"

    return written


def lines(header, *cells):
    return "\n".join([header, *(f"{name},{cell}" for name, cell in zip(NAMES, cells, strict=True))]) + "\n"


def test_columns_are_read(write):
    text = lines(
        "path,label,group,split,label2,label_weight,meta.site,age",
        "dog,p1,val,cat,0.25,north,30", "cat,p1,val,,,north,31", "cat,p2,test,cat,1,south,", '"dog",,,dog,1,"a,b",33',
    )  # fmt: skip
    source = open_data(write(text) + "?meta=age")
    rows = list(source.read(range(4)))
    assert source.classes == ("cat", "dog")
    assert [row.label for row in rows] == [1, 0, 0, 1]
    assert [row.group for row in rows] == ["p1", "p1", "p2", None]
    assert [row.split for row in rows] == ["val", "val", "test", None]
    assert [row.label2 for row in rows] == [0, None, 0, 1]
    assert [row.weight for row in rows] == [0.25, None, 1.0, 1.0]
    assert rows[2].meta == {"site": "south", "age": None}
    assert rows[3].meta == {"site": "a,b", "age": 33.0}
    assert all(row.image is not None for row in rows)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_write_is_read(write, separator, mark, end):
    text = lines("file,label", "0", "1", "2", "1").replace(",", separator).replace("\n", end)
    source = open_data(write(mark + text))
    assert source.classes == ("0", "1", "2")
    assert [row.label for row in source.read(range(4))] == [0, 1, 2, 1]


def test_columns_can_be_named(write):
    text = lines("photo,species,patient,fold", "dog,01,test", "cat,02,test", "cat,02,val", "dog,01,test")
    source = open_data(write(text) + "?image=photo&label=species&group=patient&splits=fold&split=test&classes=dog,cat")
    assert [row.sample_id for row in source.read(range(3))] == [NAMES[0], NAMES[1], NAMES[3]]
    assert [row.label for row in source.read(range(3))] == [0, 1, 0]
    assert [row.group for row in source.read(range(3))] == ["01", "02", "01"]


def test_a_column_can_be_group_and_meta_at_once(write):
    row = next(open_data(write(lines("path,label,group", *["0,3", "1,3", "0,4", "1,4"])) + "?meta=group").read([0]))
    assert (row.group, row.meta) == ("3", {"group": 3.0})


def test_a_missing_image_is_a_row_with_a_reason(write):
    index = build_index(open_data(write(lines("path,label", "0", "1", "0", "1") + "images/none.png,1\n")))
    assert index.errors[4] == "cannot read the file: No such file or directory"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("path,label,label\n", "the column 'label' twice"),
        ("name,label\na,b\n", "no column that names the files"),
        ("path,class\na.png,b\n", "unknown column 'label'"),
        ("path,label\na.png\n", "line 2: 1 cells under 2 columns"),
        ('path,label\n"a.png,0\n', "line 2: .*Check the quotes"),
        ("path,label\nimages/a.png,\n", "line 2: the label is missing"),
        ("path,label\n../a.png,0\n", "leads out of the folder"),
        ("path,label\nimages/../../a.png,0\n", "leads out of the folder"),
        ("path,label\n/etc/a.png,0\n", "leads out of the folder"),
        ("path,label\n..\\a.png,0\n", "leads out of the folder"),
        ("path,label\nC:\\a.png,0\n", "leads out of the folder"),
        ("path,label\n,0\n", "leads out of the folder"),
        ("path,label\nimages/a.png,0\nimages/b.png,1\nimages//a.png,1\n", "line 4: 'images/a.png' .* first in line 2"),
        ("path,label\nimages/a.png,cat|dog\nimages/b.png,cat\n", "is multi-label"),
        ('path,label\nimages/a.png,"[1, 0, 1]"\nimages/b.png,"[0]"\n', "is multi-label"),
        ("path,cat,dog\nimages/a.png,1,1\nimages/b.png,0,1\n", "is multi-label: the columns cat, dog"),
        ("path,label\nimages/a.png,0.31\nimages/b.png,7\n", "is a regression set: the label 0.31"),
    ],
)
def test_unusable_tables_are_refused(write, text, says):
    with pytest.raises(DataError, match=says):
        open_data(write(text))


def test_a_label_that_is_no_class_is_refused(write):
    with pytest.raises(DataError, match="line 3: the label 'cat' is not among the 1 classes dog"):
        open_data(write(lines("path,label", "dog", "cat", "dog", "cat")) + "?classes=dog")


def test_other_encodings_are_refused(write):
    with pytest.raises(DataError, match="line 2: the byte 0xe9 is not UTF-8"):
        open_data(write("path,label\nimages/a.png,caf\u00e9\n", "latin-1"))


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none.csv: No such file"):
        open_data(f"csv:{tmp_path / 'none.csv'}")


def test_paths_may_be_absolute_and_begin_at_another_root(tmp_path):
    save(tmp_path, NAMES)
    (tmp_path / "lists").mkdir()
    cells = [NAMES[0], str(tmp_path / NAMES[1]), f"{tmp_path}/x/../{NAMES[2]}", f"./{NAMES[3]}"]
    text = "path,label\n" + "".join(f"{path},{number % 2}\n" for number, path in enumerate(cells))
    (tmp_path / "lists" / "set.csv").write_text(text)
    for root in ("..", str(tmp_path), f"{tmp_path}/lists/.."):
        rows = list(open_data(f"csv:{tmp_path}/lists/set.csv?root={root}").read(range(4)))
        assert [row.sample_id for row in rows] == NAMES
        np.testing.assert_array_equal((rows[1].image[0] * 255).round(), np.asarray(picture(1)))
    with pytest.raises(DataError, match=r"line 3: .* leads out of the folder .*lists; .*\?root=\.\. or \?root=/data"):
        open_data(f"csv:{tmp_path}/lists/set.csv")
    with pytest.raises(DataError, match=r"there is no folder .*none, which \?root=none names"):
        open_data(f"csv:{tmp_path}/lists/set.csv?root=none")


@pytest.mark.parametrize("path", ["../images/a.png", "/etc/a.png", "images/../../a.png", "{}x/a.png"])
def test_no_path_leaves_the_root(tmp_path, path):
    save(tmp_path / "set", NAMES)
    (tmp_path / "set.csv").write_text(f"path,label\n{path.format(tmp_path / 'set')},0\n")
    with pytest.raises(DataError, match="leads out of the folder"):
        open_data(f"csv:{tmp_path / 'set.csv'}?root=set")


def test_labels_that_count_from_one_are_explained_and_read(write):
    address = write(lines("path,label,label2", "1,1", "2,3", "3,3", "1,1"))
    with pytest.raises(DataError, match=r"labels 1 to 3 and no 0.*\?first_label=1 .*\?first_label=0"):
        open_data(address)
    with pytest.raises(DataError, match="labels 1 to 3 and no 0"):
        open_data(f"{address}?classes=cat,dog,emu")
    shifted = open_data(f"{address}?first_label=1&classes=cat,dog,emu")
    assert [row.label for row in shifted.read(range(4))] == [0, 1, 2, 0]
    assert [row.label2 for row in shifted.read(range(4))] == [0, 2, 2, 0]
    assert open_data(f"{address}?first_label=1").classes == ("1", "2", "3")
    assert open_data(f"{address}?first_label=0").classes == ("0", "1", "2", "3")
    assert [row.label for row in open_data(f"{address}?first_label=0").read(range(4))] == [1, 2, 3, 1]
    with pytest.raises(AddressError, match="`first_label` must be 0 or 1"):
        open_data(f"{address}?first_label=2")


def test_a_label_before_the_first_is_refused(write):
    with pytest.raises(DataError, match=r"line 2: the label 0\.0 is not among"):
        open_data(write(lines("path,label", "0", "1", "2", "1")) + "?first_label=1")
