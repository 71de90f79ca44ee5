import pytest
from tests.data.image_files import save

from demur.data import build_index, open_data
from demur.errors import DataError

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
