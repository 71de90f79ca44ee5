"""An index that was kept gives the rows of the pass that made it; one of other images, or a damaged one, is named."""

import json
import shutil
from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl
import pytest
import torch

from demur.data import build_index
from demur.data.image_content import digest
from demur.data.index_files import StoredScan, missing_rows, write_scan
from demur.data.lost_images import UNDECODED
from demur.data.relabelled import RelabelledSource
from demur.data.scan import scan
from demur.data.source import UNREAD, Row
from demur.errors import DataError

ROWS = 40

FACTS = {
    "group": [None, "ward", "wörd\n2", None, "w"],
    "split": [None, "val", "test", "train", "certify"],
    "label2": [None, 0, 2],
    "weight": [None, 0.1 + 0.2, 0.0, 3.0],
    "box": [None, (0, 1, 2, 3), (-1, 0, 4, 4)],
    "meta": [{}, {"site": "a"}, {"age": 1 / 3, "site": None}, {"n": 5}, {"n": 5.0, "\ud800": "x"}],
}


def row(at):
    facts = {name: values[at % len(values)] for name, values in FACTS.items()}
    return Row(f"é/{at}", None, at % 3, error=UNREAD, **{**facts, "split": FACTS["split"][at % 5]})


@dataclass(frozen=True, eq=False)
class Listed:
    """Rows of all kinds, known before their images are."""

    listed: tuple[Row, ...] = tuple(row(at) for at in range(ROWS))
    lost: dict[int, str] = None
    address: str = "listed"
    classes: tuple[str, ...] = ("a", "b", "c")
    input_shape: tuple[int, int, int] = (1, 4, 4)
    decoding: bool = True

    def __len__(self):
        return len(self.listed)

    def read(self, positions):
        for at in positions:
            assert self.decoding
            image = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(at % 37))
            why = {3: "torn file", 9: f"{UNDECODED}ended by SIGSEGV", **(self.lost or {})}.get(at)
            yield self.listed[at].showing(image if why is None else None, why)


def facts(index):
    found = {each.name: getattr(index, each.name) for each in fields(index)}
    return {name: part.tolist() if isinstance(part, np.ndarray) else part for name, part in found.items()}


def keep(folder, source=None, parts=3, *, labelled=True):
    source = source or Listed()
    rows = scan(source, labelled=labelled)
    for at in range(parts):
        start, stop = len(rows) * at // parts, len(rows) * (at + 1) // parts
        write_scan(folder / f"{at + 1}-of-{parts}", source, rows[start:stop], start, labelled=labelled)
    return folder


def undecoded(**changes):
    return Listed(decoding=False, **changes)


@pytest.mark.parametrize("parts", [1, 3, 60])
@pytest.mark.parametrize("choice", [{}, {"limit": 9}, {"held_out": True}])
def test_the_index_is_that_of_a_pass_to_the_last_bit_and_nothing_is_decoded(tmp_path, parts, choice):
    keep(tmp_path, parts=parts)
    ours, theirs = (
        build_index(each, scanner=scanner, **choice)
        for each, scanner in ((undecoded(), StoredScan(tmp_path)), (Listed(), None))
    )
    assert facts(ours) == facts(theirs)
    said = [repr({name: tuple(own) for name, own in each.meta.items()}) for each in (ours, theirs)]
    assert said[0] == said[1]
    assert ours.rows_sha256 == theirs.rows_sha256


def test_a_relabelled_source_has_an_index_too(tmp_path):
    under = RelabelledSource(Listed(), ("x", "y", "z"), (2, 0, 1), "other")
    keep(tmp_path, under)
    again = RelabelledSource(undecoded(), ("x", "y", "z"), (2, 0, 1), "other")
    assert facts(build_index(again, scanner=StoredScan(tmp_path))) == facts(build_index(under))


def test_images_of_none_of_the_classes_have_files_of_their_own(tmp_path):
    keep(tmp_path, labelled=False)
    found = StoredScan(tmp_path)(undecoded(), labelled=False)
    assert [(one.content, one.row.sample_id) for one in found] == [
        (one.content, one.row.sample_id) for one in scan(Listed())
    ]
    with pytest.raises(DataError, match=rf"there is no index in {tmp_path}\. Make one"):
        StoredScan(tmp_path)(undecoded())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": "folder:b"}, "address listed, and here folder:b"),
        ({"classes": ("a", "c", "b")}, r"classes \['a', 'b', 'c'\], and here \['a', 'c', 'b'\]"),
        ({"input_shape": (1, 8, 8)}, r"shape of images \[1, 4, 4\], and here \[1, 8, 8\]"),
        ({"listed": Listed().listed[:-1]}, "number of images 40, and here 39"),
    ],
)
def test_an_index_of_other_images_is_refused(tmp_path, changes, words):
    keep(tmp_path)
    with pytest.raises(DataError, match=rf"is of other images than these: {words}\. Make one into an empty folder"):
        StoredScan(tmp_path)(undecoded(**changes))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample_id": "new"}, "the id 'é/20', and that is now 'new'"),
        ({"label": 1}, "the label 2, and that is now 1"),
        ({"group": "other"}, "the group 'wörd.*2', and that is now 'other'"),
        ({"split": "tune"}, "the split None, and that is now 'tune'"),
        ({"label2": 1}, "the second label 2, and that is now 1"),
        ({"weight": 0.3}, "the weight 0.30000000000000004, and that is now 0.3"),
        ({"meta": {"site": "b"}}, "the meta data .*, and that is now {'site': 'b'}"),
        ({"box": (0, 0, 1, 1)}, r"the box \(-1, 0, 4, 4\), and that is now \(0, 0, 1, 1\)"),
    ],
)
def test_an_index_that_is_older_than_the_list_is_refused(tmp_path, change, words):
    listed = list(Listed().listed)
    at = 20
    listed[at] = replace(
        listed[at], **{"weight": FACTS["weight"][1], "group": "wörd\n2", "label2": 2} | {"split": None}
    )
    listed[at] = replace(listed[at], box=(-1, 0, 4, 4))
    keep(tmp_path, Listed(listed=tuple(listed)))
    StoredScan(tmp_path)(undecoded(listed=tuple(listed)))
    listed[at] = replace(listed[at], **change)
    with pytest.raises(DataError, match=rf"is older than listed: of row 20 it has {words}\."):
        StoredScan(tmp_path)(undecoded(listed=tuple(listed)))
    with pytest.raises(DataError, match="is older than listed"):
        missing_rows(tmp_path / "2-of-3", undecoded(listed=tuple(listed)), range(13, 26), labelled=True)


def test_a_box_that_is_read_with_the_image_is_no_difference(tmp_path):
    keep(tmp_path)
    bare = tuple(replace(each, box=None) for each in Listed().listed)
    assert StoredScan(tmp_path)(undecoded(listed=bare))[1].row.box == FACTS["box"][1]


def test_what_is_missing_of_an_index_is_said(tmp_path):
    keep(tmp_path)
    shutil.rmtree(tmp_path / "2-of-3")
    with pytest.raises(DataError, match="has 2 parts, which are not all 40 rows of listed, each once: the first 13"):
        StoredScan(tmp_path)(undecoded())
    keep(tmp_path, parts=2)
    with pytest.raises(DataError, match="each once"):
        StoredScan(tmp_path)(undecoded())


def torn(path):
    path.write_bytes(path.read_bytes()[:-20])


def with_its_hash(path):
    told = path.with_suffix(".json")
    told.write_text(json.dumps({**json.loads(told.read_text()), "sha256": digest(path.read_bytes())}))


def other_rows(path):
    pl.DataFrame({"sample_id": ["a"]}).write_parquet(path)
    with_its_hash(path)


def fewer_rows(path):
    pl.read_parquet(path)[:-1].write_parquet(path)
    with_its_hash(path)


def unsealed(path):
    pl.read_parquet(path).with_columns(pl.lit("torn").alias("error")).write_parquet(path)


def other_cells(column):
    def change(path):
        pl.read_parquet(path).with_columns(column).write_parquet(path)
        with_its_hash(path)

    return change


DAMAGE = {
    "torn": torn,
    "gone": lambda path: path.unlink(),
    "garbage": lambda path: path.write_bytes(b"garbage" * 30),
    "a list": lambda path: path.with_suffix(".json").write_text("[]"),
    "no JSON": lambda path: path.with_suffix(".json").write_bytes(b"\xff{"),
    "no numbers": lambda path: path.with_suffix(".json").write_text(
        json.dumps({**json.loads(path.with_suffix(".json").read_text()), "start": "0"})
    ),
    "other columns": other_rows,
    "fewer rows": fewer_rows,
    "without a new hash": unsealed,
    "no meta data": other_cells(pl.lit("[1]").alias("meta")),
    "no JSON in a cell": other_cells(pl.lit("{").alias("meta")),
    "no split": other_cells(pl.lit("mine").alias("split")),
    "no id": other_cells(pl.lit(None, pl.String).alias("sample_id")),
    "no content": other_cells(pl.lit(None, pl.Binary).alias("content")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_piece_is_named_and_read_again(tmp_path, damage):
    keep(tmp_path)
    part = tmp_path / "2-of-3"
    assert missing_rows(part, undecoded(), range(13, 26), labelled=True) == []
    damage(part / "images-000000013.parquet")
    with pytest.raises(
        DataError, match=r"2-of-3/images-\d+\.\w+ is not as `demur index` wrote it\. Make this part again"
    ):
        StoredScan(tmp_path)(undecoded())
    assert missing_rows(part, undecoded(), range(13, 26), labelled=True) == [range(13, 26)]
    assert not list(part.iterdir())
    assert missing_rows(tmp_path / "1-of-3", undecoded(), range(14), labelled=True) == [range(13, 14)]
    assert missing_rows(tmp_path / "1-of-3", undecoded(), range(12), labelled=True) == [range(12)]


def pieces(folder, *bounds):
    rows = scan(Listed())
    for start, stop in bounds:
        write_scan(folder, Listed(), rows[start:stop], start, labelled=True)


def test_a_part_of_several_pieces_lacks_what_is_between_them(tmp_path):
    part = tmp_path / "1-of-1"
    assert missing_rows(part, Listed(), range(ROWS), labelled=True) == [range(ROWS)]
    pieces(part, (5, 9), (9, 10), (30, 38))
    gaps = [range(5), range(10, 30), range(38, 40)]
    assert missing_rows(part, Listed(), range(ROWS), labelled=True) == gaps
    with pytest.raises(DataError, match=r"has 1 parts, .* the first 0 are there"):
        StoredScan(tmp_path)(undecoded())
    pieces(part, *((gap.start, gap.stop) for gap in gaps))
    assert missing_rows(part, Listed(), range(ROWS), labelled=True) == []
    assert facts(build_index(undecoded(), scanner=StoredScan(tmp_path))) == facts(build_index(Listed()))
    pieces(part, (3, 6))  # as no pieces overlap that this command wrote
    assert missing_rows(part, Listed(), range(ROWS), labelled=True) == []
    assert facts(build_index(undecoded(), scanner=StoredScan(tmp_path))) == facts(build_index(Listed()))


def test_a_part_without_rows_is_there_once_a_file_says_so(tmp_path):
    part = tmp_path / "1-of-60"
    assert missing_rows(part, Listed(), range(0), labelled=True) == [range(0)]
    pieces(part, (0, 0))
    assert missing_rows(part, Listed(), range(0), labelled=True) == []


def test_a_label_that_is_no_class_is_the_sentence_of_a_pass(tmp_path):
    keep(tmp_path, parts=1)
    other_cells(pl.lit(7, pl.Int64).alias("label"))(tmp_path / "1-of-1" / "images-000000000.parquet")
    bare = tuple(replace(each, label=7) for each in Listed().listed)
    with pytest.raises(DataError, match="has label 7; the 3 classes of listed are numbered 0 to 2"):
        StoredScan(tmp_path)(undecoded(listed=bare))
