"""An image that ends the process that decodes it, past Python, costs one row, and the same command finishes."""

import ctypes
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from PIL import Image, PngImagePlugin
from tests import tiny

from demur.data import build_index, open_data
from demur.data.lost_images import UNDECODED, LostIds, deadly_images, without_images, without_undecoded
from demur.data.relabelled import RelabelledSource
from demur.errors import DataError
from demur.pipeline.run import crashes, deadly_files
from demur.pipeline.run.crashes import NAME, READING
from demur.pipeline.run.deadly_files import as_read_before, lost_ids, without_deadly_files
from demur.pipeline.run.engine import Died
from demur.pipeline.run.flight import Flight
from demur.pipeline.run.helper import READY
from demur.records import read

DECODER = """
import ctypes, os, signal
from PIL import PngImagePlugin
whole = PngImagePlugin.PngImageFile.load
def load(self):
    how = self.info.get("Comment")
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self)
PngImagePlugin.PngImageFile.load = load
"""
"""What every process of this interpreter imports first, where it lies on its path: a decoder with a fault."""

MODEL = """
from tests import tiny
def net():
    return tiny.Net().eval()
"""

PLAN = """
[model]
address = "module:mined:net"
[data]
address = "folder:images"
[conditions]
use = ["clean", "low_light(severity=3)"]
[signals]
use = ["msp"]
[policies]
use = ["rule(confidence=0.6)"]
"""

ROWS = 90

UNDECLARED = 3
"""The status of a run that is whole, of a plan that declares no criteria."""


def test_images_are_tried_in_children_until_all_that_end_one_are_known():
    def decode(position):
        if position == 2:
            ctypes.string_at(0)
        if position == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        if position == 6:
            os._exit(3)
        if position == 7:
            raise ValueError("an error is none")

    assert deadly_images(range(9), decode) == {
        2: f"{UNDECODED}ended by SIGSEGV",
        5: f"{UNDECODED}ended by SIGKILL, as for want of memory",
        6: f"{UNDECODED}ended with status 3",
    }


def test_a_child_that_died_once_by_chance_costs_no_image(tmp_path):
    def decode(position):
        if position == 1 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            ctypes.string_at(0)

    assert deadly_images([0, 1, 2], decode) == {}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """90 images in three classes, of which none ends a process."""
    monkeypatch.chdir(tmp_path)
    images, labels = tiny.images_and_labels(ROWS)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = Path("images") / f"{label}-{tiny.CLASSES[int(label)]}" / f"{row:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).byte().numpy()).save(place)
    return open_data("folder:images")


def names(source):
    return [row.sample_id for row in source.listed]


def errors(source):
    return {row.sample_id: row.error for row in source.read(range(len(source))) if row.error}


def test_a_lost_image_is_a_row_with_the_reason_and_no_picture_wherever_the_source_travels(folder, monkeypatch):
    lost = without_images(folder, {0: "first", 3: "second"})
    for source in (lost, pickle.loads(pickle.dumps(lost))):
        assert errors(source) == {names(folder)[0]: "first", names(folder)[3]: "second"}
        with pytest.raises(OSError, match="second"):
            source.picture(3)
    assert not errors(pickle.loads(pickle.dumps(folder)))
    under = RelabelledSource(lost, ("a", "b", "c"), (2, 0, 1), "other")
    again = without_images(under, {5: "third"})
    assert errors(again) == {names(folder)[at]: why for at, why in ((0, "first"), (3, "second"), (5, "third"))}
    assert again.classes == ("a", "b", "c")


def test_a_lost_image_is_not_decoded_where_a_source_is_opened_again(folder, monkeypatch):
    sent = pickle.dumps(without_images(folder, {0: "lost"}))
    decoded, before = [], PngImagePlugin.PngImageFile.load
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load", lambda self: decoded.append(self.filename or "bytes") or before(self)
    )
    open_data("folder:images")
    every = len(decoded)
    decoded.clear()
    pickle.loads(sent)
    assert 0 < len(decoded) < every


class Falling:
    """Finds that some images end others."""

    def __init__(self, *positions):
        self.positions = positions

    def __call__(self, _duty, _parts, _threads):
        return iter([(at, Died(why="ended by SIGSEGV", may_be_rows=True)) for at in self.positions])


@pytest.fixture
def flight(tmp_path):
    """Of a process that follows one which died twice while it read the images."""
    run = tmp_path / "run"
    (run / "facts").mkdir(parents=True)
    (run / "at.json").write_text(json.dumps({"what": READING, "times": 2}))
    return Flight(run)


def test_images_that_end_readers_are_rows_and_known_from_then_on(folder, flight, monkeypatch):
    monkeypatch.setattr(deadly_files, "deadly_parts", Falling(1, 80))
    said = []
    (source,) = without_deadly_files([folder], flight, said.append)
    told = {names(folder)[at]: f"{UNDECODED}ended by SIGSEGV" for at in (1, 80)}
    assert errors(source) == told
    assert "looking for the one" in said[0]
    (flight.folder / NAME).write_text(json.dumps(told | {names(folder)[2]: "the process that measured it ended"}))
    (again,) = without_deadly_files([folder], Flight(flight.folder), said.append)
    assert errors(again) == told
    with as_read_before(flight.folder, None, [folder]) as (read_again,):
        assert errors(read_again) == told


@pytest.mark.parametrize("content", ["", "{", "null", "[1]", '{"a": 1}', "\xff"])
def test_of_a_damaged_file_nothing_is_known(tmp_path, content):
    (tmp_path / "facts").mkdir()
    (tmp_path / NAME).write_text(content, "latin-1")
    assert lost_ids(tmp_path) == lost_ids(tmp_path / "nowhere") == LostIds()


def test_unknown_images_are_told_apart_from_the_audited_ones(folder, flight):
    first = names(folder)[0]
    flight.landed()
    (flight.folder / NAME).write_text(json.dumps({f"unknown:{first}": f"{UNDECODED}ended by SIGSEGV"}))
    audited, unknown = without_deadly_files([folder, folder], flight, print)
    assert not errors(audited)
    assert list(errors(unknown)) == [first]


@pytest.mark.parametrize(
    ("positions", "words"),
    [((), "none of them ends another alone"), (range(60), r"46 or more of 90 images of folder:images end the process")],
)
def test_where_no_image_or_most_images_end_readers_there_is_nothing_to_tell(
    folder, flight, monkeypatch, positions, words
):
    monkeypatch.setattr(deadly_files, "deadly_parts", Falling(*positions))
    with pytest.raises(DataError, match=words):
        without_deadly_files([folder], flight, print)


def test_as_many_images_as_there_are_are_found_however_many_processes_that_takes(folder, flight, monkeypatch):
    """Some ten processes die for each; only many in vain end the search."""
    sizes = []

    class Dying:
        def __init__(self, _nursery):
            pass

        @classmethod
        def of(cls, nursery):
            return cls(nursery)

        def ask(self, asked):
            if isinstance(asked, tuple):
                return READY
            sizes.append(len(asked))
            return None if {7, 20, 33, 41, 55, 60, 71, 72, 73, 74, 75, 76, 80, 88} & set(asked.tolist()) else ""

        def death(self):
            return Died(why="ended by SIGSEGV", may_be_rows=True)

        def end(self):
            pass

    monkeypatch.setattr(crashes, "Helper", Dying)
    (source,) = without_deadly_files([folder], flight, print)
    assert len(errors(source)) == 14
    assert len(sizes) > 100


def test_images_in_memory_that_end_readers_are_named(flight, monkeypatch):
    monkeypatch.setattr(deadly_files, "deadly_parts", Falling(1))
    with pytest.raises(DataError, match="at position 1"):
        without_deadly_files([tiny.source(20)], flight, print)


def spoil(name, how):
    """Give a picture the comment that ends whoever decodes it."""
    place = Path("images") / name
    comment = PngImagePlugin.PngInfo()
    comment.add_text("Comment", how)
    with Image.open(place) as picture:
        picture.load()
        picture.save(place, pnginfo=comment)


def demur(*words, status=UNDECLARED):
    """A command in a process of its own, whose decoder has a fault, as have those that it starts."""
    Path("path").mkdir(exist_ok=True)
    Path("path/sitecustomize.py").write_text(DECODER)
    Path("mined.py").write_text(MODEL)
    Path("plan.toml").write_text(PLAN)
    path = os.pathsep.join([str(Path("path").resolve()), str(Path.cwd()), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "demur", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == status, done.stderr[-3000:]
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("how", "told"), [("segfault", "SIGSEGV"), ("kill", "SIGKILL, as for want of memory")])
def test_a_deadly_file_costs_a_row_whether_or_not_it_is_decoded_when_the_folder_is_opened(folder, how, told, workers):
    opened, other = names(folder)[0], names(folder)[3]
    spoil(opened, how)
    spoil(other, how)
    said = demur("audit", "--plan", "plan.toml", "--out", "run", "--workers", workers)
    assert said.count(f"ended by {told.partition(',')[0]}") >= 2
    why = f"{UNDECODED}ended by {told}"
    for condition in ("clean", "low_light(severity=3)"):
        found = read(Path("run"), condition)
        assert found.height == ROWS
        lost = found.filter(pl.col("error").is_not_null())
        assert dict(zip(lost["sample_id"], lost["error"], strict=True)) == {opened: why, other: why}
    assert json.loads(Path("run", NAME).read_text()) == {opened: why, other: why}
    before = tiny.hashes(Path("run"))
    said = demur("audit", "--plan", "plan.toml", "--out", "run", "--workers", workers)
    assert "ended by" not in said, "what is known is not decoded again, nor where the folder is opened"
    assert tiny.hashes(Path("run")) == before


@pytest.mark.slow
def test_a_deadly_file_that_takes_no_part_is_known_from_then_on(folder):
    bad = next(name for name in names(folder) if name not in set(build_index(folder, limit=40).sample_ids))
    spoil(bad, "segfault")
    words = ("audit", "--plan", "plan.toml", "--out", "run", "--set", "data.limit=20")
    said = demur(*words)
    assert "ended by SIGSEGV" in said
    assert bad not in set(read(Path("run"), "clean")["sample_id"])
    assert json.loads(Path("run", NAME).read_text()) == {bad: f"{UNDECODED}ended by SIGSEGV"}
    assert "ended by" not in demur(*words)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_deadly_file_is_a_row_of_the_index_and_whoever_reads_it_meets_none(folder, workers):
    bad = names(folder)[58]  # which is not decoded when the folder is opened
    spoil(bad, "segfault")
    for part in ("1/2", "2/2"):
        said = demur("index", "--plan", "plan.toml", "--shard", part, "--out", "index", "--workers", workers, status=0)
        assert (said.count("ended by SIGSEGV") >= 2) == (part == "2/2")
    said = demur("audit", "--plan", "plan.toml", "--out", "run", "--index", "index", "--workers", workers)
    assert "ended by" not in said
    why = {bad: f"{UNDECODED}ended by SIGSEGV"}
    assert json.loads(Path("run", NAME).read_text()) == why
    found = read(Path("run"), "low_light(severity=3)").filter(pl.col("error").is_not_null())
    assert dict(zip(found["sample_id"], found["error"], strict=True)) == why


def test_a_source_knows_which_images_an_index_tells_of(folder):
    lost = without_images(folder, {7: f"{UNDECODED}ended by SIGSEGV", 8: "torn file"})
    index = build_index(lost, limit=20)
    assert index.undecoded == {7: f"{UNDECODED}ended by SIGSEGV"}, "whether it takes part or not"
    assert errors(without_undecoded(folder, index.undecoded)) == {names(folder)[7]: index.undecoded[7]}
    assert without_undecoded(folder, {}) is folder
    images = tiny.source(20)
    assert without_undecoded(images, index.undecoded) is images


def test_of_a_part_only_its_share_is_searched(folder, flight, monkeypatch):
    asked = []
    monkeypatch.setattr(deadly_files, "deadly_parts", lambda _duty, parts, _threads: asked.extend(parts) or iter([]))
    with pytest.raises(DataError, match="none of them ends another alone"):
        without_deadly_files([folder], flight, print, lambda rows: range(rows // 3, rows // 2))
    assert [at for part in asked for at in part] == list(range(30, 45))


def test_what_is_read_already_is_not_searched_and_most_is_of_the_share(folder, flight, monkeypatch):
    asked, found = [], iter([iter([(at, Died(why="ended by SIGSEGV", may_be_rows=True)) for at in range(12, 20)])])

    def searched(_duty, parts, _threads):
        asked.extend(at for part in parts for at in part)
        return next(found, iter([]))

    monkeypatch.setattr(deadly_files, "deadly_parts", searched)
    with pytest.raises(DataError, match="8 or more of 15 images of folder:images end the process"):
        without_deadly_files([folder, folder], flight, print, lambda rows: range(rows // 6), [range(12, 20), []])
    assert asked == [*range(12, 20)]
