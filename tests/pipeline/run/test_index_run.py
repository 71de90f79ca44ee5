"""An index that was made once, in parts, serves every part of an audit: the bytes are those of the single run."""

from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests import tiny

import demur
from demur.data import build_index, from_tensors, open_data
from demur.data.index_files import StoredScan
from demur.errors import DataError, InputError, RunError
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run import deadly_files, index_run, shared_scan
from demur.pipeline.run.begun import run_lock
from demur.pipeline.run.crashes import READING
from demur.pipeline.run.flight import Flight
from demur.pipeline.run.index_run import write_index
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.merged_parts import merge_parts
from demur.pipeline.run.part_run import Part, freeze_run, measure_part
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.shared_scan import SharedScan
from demur.records import read

PARTS = 2


def given(**others):
    return StandIns(**{"source": tiny.source(), "classifier": tiny.classifier(), **others})


def indexed(folder, count=3, others=None, of=None):
    """An index in parts, and what is told of each."""
    own = others or given()
    return [
        write_index(of or tiny.plan(), Part(number=each, count=count), folder, tiny.Quiet(), others=own)
        for each in range(1, count + 1)
    ]


@pytest.fixture
def unread(monkeypatch):
    """From when it is called on, no pass through the images is made."""

    def begin():
        monkeypatch.setattr(SharedScan, "parts", None)

    return begin


def in_parts(folder, index, of=None, others=None):
    """A finished run folder merged of parts, of which none makes a pass through the images."""
    of, others, use, run = of or tiny.plan(), others or given(), Resources(index=index), folder / "run"
    parts = [Part(number=each, count=PARTS) for each in range(1, PARTS + 1)]
    folders = [folder / f"part{part.number}" for part in parts]
    for frozen in (None, run):
        for part, own in zip(parts, folders, strict=True):
            measure_part(of, part, own, tiny.Quiet(), frozen=frozen, others=others, resources=use)
        merge_parts(folders, run)
        if frozen is None:
            freeze_run(run, tiny.Quiet(), others=others, resources=use)
    found = read_plan(run / "plan.toml", (), {})
    own = (others.source, others.classifier, None, others.unknown)
    return tiny.hashes(run_plan(found, run, tiny.Quiet(), *own, resources=use))


def test_parts_that_read_an_index_come_to_the_bytes_of_the_single_run(tmp_path, finished, unread):
    done = indexed(tmp_path / "index")
    assert [(each.read, each.own, each.all) for each in done] == [(400, 400, 1200)] * 3
    unread()
    assert in_parts(tmp_path, tmp_path / "index") == tiny.hashes(finished)


def test_an_audit_in_python_reads_it_and_no_image_to_know_it(tmp_path, unread):
    indexed(tmp_path / "index", 1)
    unread()
    found = demur.audit(
        tiny.classifier(), tiny.source(), out=tmp_path / "run", plan=tiny.plan(), index=tmp_path / "index"
    )
    assert found.conditions[0].n == len(read(tmp_path / "run", "clean"))
    with pytest.raises(DataError, match=r"there is no index in .*none"):
        demur.audit(tiny.classifier(), tiny.source(), out=tmp_path / "other", plan=tiny.plan(), index=tmp_path / "none")


def test_images_of_none_of_the_classes_are_in_it_too(tmp_path, unread):
    others = given(unknown=from_tensors(torch.rand(60, *tiny.SHAPE), torch.zeros(60, dtype=torch.long), classes=["x"]))
    of = tiny.plan(conditions=("clean", "gaussian_noise(severity=1)"))
    of = of.model_copy(update={"data": of.data.model_copy(update={"unknown": "digits"})})
    single = tiny.hashes(
        run_plan(of, tmp_path / "single", tiny.Quiet(), others.source, others.classifier, None, others.unknown)
    )
    done = indexed(tmp_path / "index", 2, others, of)
    assert [(each.read, each.all) for each in done] == [(630, 1260)] * 2
    unread()
    assert in_parts(tmp_path, tmp_path / "index", of, others) == single


def test_what_is_there_is_not_read_again(tmp_path, unread):
    first = indexed(tmp_path, 2)
    before = (first[0].folder / "images-000000000.parquet").read_bytes()
    (first[1].folder / "images-000000600.parquet").unlink()
    again = indexed(tmp_path, 2)
    assert [each.read for each in again] == [0, 600]
    assert (first[0].folder / "images-000000000.parquet").read_bytes() == before
    unread()
    assert [each.read for each in indexed(tmp_path, 2)] == [0, 0]


class Stopping:
    """Images of which one stops whoever reads it, until it lets go; it knows which were read."""

    def __init__(self, at, error):
        self.whole, self.at, self.error, self.seen = tiny.source(), at, error, []
        self.address, self.classes, self.input_shape = self.whole.address, self.whole.classes, self.whole.input_shape

    def __len__(self):
        return len(self.whole)

    def read(self, positions):
        for position in positions:
            if position == self.at:
                raise self.error
            self.seen.append(position)
            yield from self.whole.read([position])


def stops(folder):
    """The rows at which the pieces of a part begin."""
    return [int(path.stem.rpartition("-")[2]) for path in sorted((folder / "1-of-1").glob("images-*.parquet"))]


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [(KeyboardInterrupt(), [0, 300, 600, 900], [1000]), (DataError("torn"), [0, 300, 600], [900])],
)
def test_a_part_that_was_broken_off_goes_on_where_it_stopped(tmp_path, monkeypatch, error, before, after):
    monkeypatch.setattr(index_run, "_ROWS", 300)
    monkeypatch.setattr(shared_scan, "_ROWS", 100)
    source = Stopping(1050, error)
    others = given(source=source)
    with pytest.raises(type(error)):
        indexed(tmp_path / "index", 1, others)
    assert stops(tmp_path / "index") == before
    source.at, source.seen = None, []
    (done,) = indexed(tmp_path / "index", 1, others)
    assert source.seen == list(range(after[0], 1200))
    assert (done.read, done.own) == (1200 - after[0], 1200)
    assert stops(tmp_path / "index") == sorted({*before, *after})
    assert facts_of(tmp_path / "index") == facts_of(None)


def facts_of(folder):
    found = build_index(tiny.source(), scanner=None if folder is None else StoredScan(folder))
    return found.sha256, found.rows_sha256, found.splits


def test_a_piece_is_written_after_some_time_whatever_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(index_run, "_SECONDS", 0.0)
    monkeypatch.setattr(shared_scan, "_ROWS", 400)
    indexed(tmp_path, 1)
    assert stops(tmp_path) == [0, 400, 800]


def test_one_piece_that_is_damaged_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(index_run, "_ROWS", 300)
    monkeypatch.setattr(shared_scan, "_ROWS", 100)
    indexed(tmp_path, 1)
    (tmp_path / "1-of-1" / "images-000000300.parquet").write_bytes(b"torn")
    source = Stopping(None, None)
    (done,) = indexed(tmp_path, 1, given(source=source))
    assert (done.read, source.seen) == (300, list(range(300, 600)))
    assert facts_of(tmp_path) == facts_of(None)


def test_only_what_is_missing_is_searched_for_what_ends_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(index_run, "_ROWS", 300)
    monkeypatch.setattr(shared_scan, "_ROWS", 100)
    others = given(unknown=from_tensors(torch.rand(60, *tiny.SHAPE), torch.zeros(60, dtype=torch.long), classes=["x"]))
    of = tiny.plan().model_copy(update={"data": tiny.plan().data.model_copy(update={"unknown": "digits"})})
    indexed(tmp_path, 1, others, of)
    for path in (tmp_path / "1-of-1").glob("images-000000300.*"):
        path.unlink()
    (tmp_path / "1-of-1" / "at.json").write_text('{"what": "reading the images", "times": 2}')
    searched = []
    monkeypatch.setattr(deadly_files, "deadly_parts", lambda _duty, parts, _threads: searched.extend(parts) or iter([]))
    with pytest.raises(DataError, match="none of them ends another alone"):
        indexed(tmp_path, 1, others, of)
    assert [at for part in searched for at in part] == list(range(300, 600))


def test_a_process_that_dies_after_a_piece_died_of_something_else_than_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(index_run, "_ROWS", 300)
    monkeypatch.setattr(shared_scan, "_ROWS", 100)
    times, at = [], Flight.at

    def noted(flight, what):
        if what == READING:
            times.append(0 if flight.death is None else flight.death.times)
        return at(flight, what)

    monkeypatch.setattr(Flight, "at", noted)
    (tmp_path / "1-of-1").mkdir()
    (tmp_path / "1-of-1" / "at.json").write_text('{"what": "reading the images", "times": 1}')
    indexed(tmp_path, 1)
    assert times == [1, 0, 0, 0, 0]


def test_a_folder_of_other_images_is_not_overwritten(tmp_path):
    indexed(tmp_path, 1)
    with pytest.raises(DataError, match="is of other images than these: number of images 1200, and here 900"):
        indexed(tmp_path, 1, given(source=tiny.source(900)))


def test_a_part_has_one_maker_at_a_time(tmp_path):
    with ExitStack() as stack:
        run_lock(tmp_path / "1-of-1", stack)
        with pytest.raises(RunError, match="another process is writing"):
            indexed(tmp_path, 1)


def test_an_audit_without_its_index_says_how_to_make_it(tmp_path):
    with pytest.raises(
        InputError, match=rf"there is no index in {tmp_path}/none\. Make one .* demur index --plan PLAN"
    ):
        tiny.run(tmp_path / "run", resources=Resources(index=tmp_path / "none"))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The images as files."""
    monkeypatch.chdir(tmp_path)
    images, labels = tiny.images_and_labels(90)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = Path("images") / f"{label}-{tiny.CLASSES[int(label)]}" / f"{row:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).byte().numpy()).save(place)
    return sorted(Path("images").rglob("*.png"))


class TestAnIndexThatIsOlder:
    """Than a file that was replaced, added or taken away."""

    @pytest.fixture
    def others(self, folder, monkeypatch):
        monkeypatch.setattr(tiny, "CLASSES", tuple(f"{at}-{name}" for at, name in enumerate(tiny.CLASSES)))
        return lambda: StandIns(source=open_data("folder:images"), classifier=tiny.classifier())

    def run(self, others):
        of = tiny.plan(conditions=("clean",), policies=("rule(confidence=0.6)",))
        found = others()
        return run_plan(of, Path("run"), tiny.Quiet(), found.source, found.classifier,
                        resources=Resources(index=Path("index")))  # fmt: skip

    def test_it_is_known_when_an_image_is_used(self, folder, others):
        indexed(Path("index"), 2, others())
        Image.new("L", (8, 8), 128).save(folder[5])
        with pytest.raises(DataError, match=r"is another one than .*its pixels differ.* new index"):
            self.run(others)

    def test_it_is_known_at_once_where_the_list_differs(self, folder, others):
        indexed(Path("index"), 2, others())
        folder[5].rename(folder[5].with_name("new.png"))
        with pytest.raises(DataError, match="is older than folder:images"):
            self.run(others)
        folder[6].unlink()
        with pytest.raises(DataError, match="number of images 90, and here 89"):
            self.run(others)

    def test_what_could_not_be_read_is_so_still(self, folder, others):
        whole = folder[5].read_bytes()
        folder[5].write_bytes(b"torn")
        indexed(Path("index"), 2, others())
        folder[5].write_bytes(whole)
        errors = read(self.run(others), "clean")["error"].drop_nulls().to_list()
        assert len(errors) == 1
        assert "cannot" in errors[0]
