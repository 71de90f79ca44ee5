"""Malformed inputs: each a clear paragraph and status 2, or a finished audit that counts the rows it lost."""

import errno
import io
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from safetensors.torch import save_file
from tests import tiny
from tests.cli.conftest import QUICK, refused
from tests.cli.malformed_cases import CASES

from demur import files
from demur.adapters.weights import manifest_of, manifest_text
from demur.data import build_index, open_data
from demur.errors import RunError
from demur.files import append_line

ROWS = 90
FEW = ("--set", "policies.use=['certified(risk=0.1)']")


def pixels(rows=ROWS):
    """The patterns as bytes, (rows, 8, 8), and their labels."""
    images, labels = tiny.images_and_labels(rows)
    return (images[:, 0] * 255).round().byte().numpy(), labels.tolist()


def encoded(array, form="png"):
    out = io.BytesIO()
    Image.fromarray(array).save(out, form)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A folder of pictures, one sub-folder per class."""
    for number, (array, label) in enumerate(zip(*pixels(), strict=True)):
        path = tmp_path / "set" / tiny.CLASSES[label] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(array))
    return tmp_path / "set"


@pytest.fixture
def address(folder):
    """The address of the folder; its classes in the order of the net."""
    return f"folder:{folder}?classes={','.join(tiny.CLASSES)}"


@pytest.fixture
def counted(demur, good, tmp_path):
    """A function that audits and checks that so many rows failed for a reason, and that everybody says so."""

    def audit(data, reason, failed=1, rows=ROWS):
        said = demur("audit", good, data, *QUICK, "--out", "run")
        assert said.status in {0, 1, 3}, said
        assert "Traceback" not in said.err
        return shown(tmp_path / "run", reason, failed, rows)

    return audit


def shown(run, reason, failed, rows, units=None):
    table = pl.read_parquet(run / "records" / "c000-*.parquet")
    lost = table.filter(pl.col("error").is_not_null())
    assert (len(table), len(lost)) == (rows, failed)
    assert all(reason in error for error in lost["error"])
    assert lost["predicted"].null_count() == lost["signal.msp"].null_count() == failed
    results = json.loads((run / "results.json").read_text())
    assert results["provenance"]["failed_samples"] == failed
    assert results["accuracy"]["n"] == (units or rows - failed)
    (check,) = (check for check in results["checks"] if check["name"] == "readable images")
    assert (check["count"], check["of"], check["state"] == "pass") == (failed, rows, failed == 0)
    page = (run / "report.html").read_text()
    assert f"<dt>Failed</dt><dd>{failed} image{'' if failed == 1 else 's'} that could not be read" in page
    return results


def test_a_truncated_jpeg(folder, address, counted):
    whole = encoded(np.kron(pixels(1)[0][0], np.ones((40, 40), np.uint8)), "jpeg")
    (folder / "disc" / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    counted(address, "cannot decode the image: ", rows=ROWS + 1)


def test_zero_bytes(folder, address, counted):
    (folder / "disc" / "none.png").touch()
    counted(address, "no image bytes", rows=ROWS + 1)


def test_an_empty_class_folder(demur, good, folder):
    (folder / "ring").mkdir()
    said = demur("audit", good, f"folder:{folder}", *QUICK)
    refused(said, "the class folder 'ring'", "holds no images", "Remove the folder, fill it")


def test_one_class(demur, good, folder, address):
    shutil.rmtree(folder / "disc")
    shutil.rmtree(folder / "bar")
    refused(demur("audit", good, address, *QUICK), "are of one class, 'cross'", "at least two")


def test_cmyk(folder, address, counted):
    for path in folder.glob("*/*.png"):
        Image.open(path).convert("RGB").convert("CMYK").save(path.with_suffix(".tif"))
        path.unlink()
    assert counted(f"{address}&colour=grey", "", failed=0)["accuracy"]["value"] > 0.8


def test_cmyk_among_grey(folder, address, counted):
    Image.new("CMYK", (8, 8)).save(folder / "disc" / "print.jpg")
    way_out = "save it as grey, or name its set with colour=grey (folder:PLACE?colour=grey)"
    counted(address, f"a colour image (mode CMYK) in a grey set; {way_out}", rows=ROWS + 1)


def sixteen_bits(folder, white):
    for path in folder.glob("*/*.png"):
        array = np.asarray(Image.open(path)).astype(np.float64) / 255 * white
        Image.fromarray(array.round().astype(np.uint16)).save(path)


def test_sixteen_bits_of_unknown_scale(demur, good, folder, address):
    sixteen_bits(folder, white=4095)
    refused(demur("audit", good, address, *QUICK), "may be of 10 or 12 bits", "?full_scale=4095")


def test_sixteen_bits_of_known_scale(folder, address, counted):
    sixteen_bits(folder, white=4095)
    assert counted(f"{address}&full_scale=4095", "", failed=0)["accuracy"]["value"] > 0.8


def test_sixteen_bits_that_pass_their_scale(folder, address, counted):
    sixteen_bits(folder, white=4000)
    Image.fromarray(np.full((8, 8), 5000, np.uint16)).save(folder / "disc" / "bright.png")
    counted(f"{address}&full_scale=4095", "pixels from 5000 to 5000 outside 0 to full_scale=4095", rows=ROWS + 1)


def test_a_size_of_its_own(folder, address, counted):
    Image.new("L", (9, 8)).save(folder / "disc" / "wide.png")
    counted(address, "size 1×8×9 in a set of 1×8×8 images", rows=ROWS + 1)


@pytest.mark.parametrize("harm", [lambda whole: whole[:-200], lambda whole: whole[:40], lambda _: b"", lambda _: b"x"])
def test_a_corrupt_parquet_file(demur, good, tmp_path, harm):
    path = parquet(tmp_path / "test.parquet")
    path.write_bytes(harm(path.read_bytes()))
    refused(demur("audit", good, f"parquet:{path}", *QUICK), f"cannot read {path} as Parquet", "file is whole")


def test_a_parquet_file_with_a_corrupt_page(demur, good, tmp_path):
    path = parquet(tmp_path / "test.parquet")
    content = bytearray(path.read_bytes())
    content[100:1000] = b"\xff" * 900
    path.write_bytes(content)
    refused(demur("audit", good, f"parquet:{path}", *QUICK), f"cannot read {path} as Parquet")


def parquet(path, **columns):
    arrays, labels = pixels()
    pl.DataFrame({"image": [encoded(array) for array in arrays], "label": labels, **columns}).write_parquet(path)
    return path


def test_a_missing_column(demur, good, tmp_path):
    path = parquet(tmp_path / "test.parquet")
    said = demur("audit", good, f"parquet:{path}?label=lable", *QUICK)
    refused(said, f"{path}: unknown column 'lable'. Did you mean 'label'? Known: image, label.")


@pytest.fixture
def listed(folder):
    """A function that writes lines after those of a good list of the folder's pictures, and returns its address."""

    def write(*lines, header="path,label", encoding="utf-8"):
        file = folder / "list.csv"
        own = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.glob("*/*.png"))]
        file.write_text("\n".join([header, *own, *lines]) + "\n", encoding=encoding)
        return f"csv:{file}?classes={','.join(tiny.CLASSES)}"

    return write


def test_a_list_of_pictures(listed, counted):
    counted(listed("gone.png,disc"), "cannot read the file: No such file or directory", rows=ROWS + 1)


def test_a_list_without_labels(demur, good, listed):
    refused(demur("audit", good, listed(header="path,kind"), *QUICK), "unknown column 'label'", "Known: kind, path")


@pytest.mark.parametrize("path", ["../x.png", "/etc/passwd", "disc/../../x.png", "..\\x.png", "C:\\x.png"])
def test_a_path_that_leads_out_of_the_folder(demur, good, listed, path):
    said = demur("audit", good, listed(f"{path},disc"), *QUICK)
    refused(said, f"list.csv, line {ROWS + 2}: the path {path!r} leads out of the folder", "stay below it")


def test_a_loop_of_folders(demur, good, folder, address):
    (folder / "disc" / "again").symlink_to(folder)
    said = demur("audit", good, address, *QUICK)
    refused(said, "/disc/again leads back to a folder that it lies in", "Remove the link")


def test_a_link_to_itself(folder, address, counted):
    (folder / "disc" / "loop.png").symlink_to("loop.png")
    counted(address, "cannot read the file: Too many levels of symbolic links", rows=ROWS + 1)


def test_a_path_listed_twice(demur, good, folder, listed):
    first = min(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))
    said = demur("audit", good, listed(f"./{first},bar"), *QUICK)
    refused(said, f"line {ROWS + 2}: '{first}' is listed a second time, first in line 2", "Drop one")


def test_a_label_outside_the_classes(demur, good, folder, listed):
    Image.new("L", (8, 8)).save(folder / "new.png")
    said = demur("audit", good, listed("new.png,ring"), *QUICK)
    refused(said, f"line {ROWS + 2}: the label 'ring' is not among the 3 classes disc, bar, cross", "Correct it")


def test_a_number_outside_the_classes(demur, good, tmp_path):
    path = parquet(tmp_path / "test.parquet", other=[7] + [0] * (ROWS - 1))
    said = demur("audit", good, f"parquet:{path}?label=other&classes=disc,bar,cross", *QUICK)
    refused(said, "row 0: the label 7 is not among the 3 classes", "?classes=")


def test_a_list_that_is_not_utf_8(demur, good, folder, listed):
    Image.new("L", (8, 8)).save(folder / "é.png")
    said = demur("audit", good, listed("é.png,disc", encoding="latin-1"), *QUICK)
    refused(said, f"list.csv, line {ROWS + 2}: the byte 0xe9 is not UTF-8", "Save the file as UTF-8")


STEPS = ("--set", 'conditions.use=["clean", "gaussian_noise(severity=2)"]', *FEW)


@pytest.mark.parametrize("rooms", [(0, -6), pytest.param((4, 6, 0.5, -1), marks=pytest.mark.slow)])
def test_a_full_disk_loses_nothing(demur, good, address, tmp_path, monkeypatch, rooms):
    """`rooms`: files that are written before it is full; a share of all of them, or counted from the last."""
    sync, calls = os.fsync, []

    def audit(out, room):
        def until_full(file):
            calls.append(file)
            if len(calls) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(file)

        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", until_full)
            patch.setattr(files, "WAITS", ())
            return demur("audit", good, address, *STEPS, "--out", out)

    (tmp_path / "first").mkdir()
    assert audit(tmp_path / "first" / "whole", room=1000).status in {0, 1, 3}
    written = len(calls)
    for given in rooms:
        room = int(written * given) if given == 0.5 else given % written
        run = tmp_path / str(room) / "run"  # each beside its own openings
        run.parent.mkdir()
        said = audit(run, room)
        assert (said.status, said.out) == (2, "")
        assert "Traceback" not in said.err
        paragraph = said.err.partition("demur: ")[2]
        assert "No space left on device. What was written before is whole; free some space" in paragraph
        assert not list(run.rglob(".*"))
        begun = {path: path.read_bytes() for path in run.glob("records/*")}
        assert audit(run, room=1000).status in {0, 1, 3}
        assert all(path.read_bytes() == content for path, content in begun.items())
        for path in (tmp_path / "first" / "whole").glob("records/*"):
            assert (run / "records" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("place", ["records", "facts", "log.jsonl"])
def test_a_place_that_cannot_be_written(demur, good, address, tmp_path, place):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / place).mkdir() if "." in place else (tmp_path / "run" / place).touch()
    said = demur("audit", good, address, *QUICK, "--out", "run")
    assert said.status == 2
    assert "Traceback" not in said.err
    assert f"demur: cannot write run/{place}" in said.err
    assert "the same command continues" in said.err


def test_a_line_is_appended_whole_or_not_at_all(tmp_path):
    append_line(tmp_path / "log", "one")
    with pytest.raises(RunError, match=r"cannot write .*log/log: (File exists|Not a directory)"):
        append_line(tmp_path / "log" / "log", "two")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, before[1]))
    try:
        with pytest.raises(RunError, match=r"cannot write .*log: "):
            append_line(tmp_path / "log", "two, of which half fits")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "log").read_text() == "one\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_answer_nobody_can_take_is_no_traceback():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "demur", "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("demur: cannot ")
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def torn_everywhere():
    """A table in which every seventh image is torn, with everything that may be known of a row."""
    arrays, labels = pixels(630)
    images = [encoded(array)[: 60 if at % 7 == 3 else None] for at, array in enumerate(arrays)]
    return pl.DataFrame(
        {
            "image": images,
            "label": labels,
            "label2": [(label + (at % 10 == 0)) % 3 for at, label in enumerate(labels)],
            "group": [f"g{at // 2}" for at in range(630)],
            "meta.site": ["north" if at % 3 else "south" for at in range(630)],
        }
    )


def test_torn_images_in_every_split_go_through_everything(demur, good, tmp_path):
    torn_everywhere().write_parquet(tmp_path / "torn.parquet")
    said = demur(
        "audit", good, f"parquet:{tmp_path}/torn.parquet?classes={','.join(tiny.CLASSES)}", "--out", "run",
        "--set", 'conditions.use=["clean", "fgsm(eps=0.05)", "pgd(eps=0.05, keep=\'worst\', steps=2)", "fmn(steps=3)", '
        '"low_light(severity=3)"]',
        "--set", 'policies.use=["certified(risk=0.3, delta=0.2)", "rule(confidence=0.5)"]',
        "--set", "data.positive='bar'", "--prevalence", "positive=0.1",
    )  # fmt: skip
    assert said.status in {0, 1, 3}, said
    table = pl.read_parquet(tmp_path / "run" / "records" / "*.parquet")
    torn = table.filter(pl.col("condition") == "clean", pl.col("error").is_not_null())
    assert set(torn["split"]) == {"tune", "certify", "test"}
    attacked = table.filter(pl.col("condition").str.contains("eps|fmn"))
    assert len(attacked)
    assert attacked["error"].null_count() == len(attacked)
    results = shown(tmp_path / "run", "cannot decode the image", failed=90, rows=630, units=315)
    assert results["guarantee"]["certify_n"] <= 540
    tested = table.filter(pl.col("condition") == "clean", pl.col("split") == "test", pl.col("error").is_null())
    assert sum(row["n"] for row in results["per_class"]) == len(tested)
    assert results["direction"] is not None
    assert not set(torn["sample_id"]) & set(json.loads((tmp_path / "run" / "facts" / "gallery.json").read_text()))
    assert demur("report", "run").status == said.status


def test_an_image_that_goes_while_it_runs_is_not_measured_as_grey(demur, good, folder, address, monkeypatch):
    from demur.pipeline.run import begun

    def knock(job):
        (folder / job.index.sample_ids[5]).unlink()
        return []

    monkeypatch.setattr(begun, "preflight_checks", knock)
    said = demur("audit", good, address, *QUICK, "--out", "run", "--image-memory", "0")
    assert said.status == 2
    assert "could be read when this run began and cannot be read any more" in said.err
    assert "No such file or directory" in said.err
    assert not list((folder.parent / "run").glob("records/*"))


def test_an_image_that_is_exchanged_while_it_runs_is_not_measured_as_the_first(
    demur, good, folder, address, monkeypatch
):
    from demur.pipeline.run import begun

    def knock(job):
        own, other = (folder / job.index.sample_ids[row] for row in (5, 6))
        own.write_bytes(other.read_bytes())
        return []

    monkeypatch.setattr(begun, "preflight_checks", knock)
    said = demur("audit", good, address, *QUICK, "--out", "run", "--image-memory", "0")
    assert said.status == 2
    assert "is another one than when this run began: its pixels differ" in said.err
    assert not list((folder.parent / "run").glob("records/*"))


def test_copies_that_the_split_puts_on_both_sides_are_counted(demur, good, tmp_path):
    arrays, labels = pixels()
    twice = pl.DataFrame(
        {
            "image": [encoded(array) for array in (*arrays, *arrays[:30])],
            "label": labels + labels[:30],
            "split": ["tune", "certify", "test"] * (ROWS // 3) + ["certify", "test", "tune"] * 10,
        }
    )
    twice.write_parquet(tmp_path / "twice.parquet")
    said = demur(
        "audit", good, f"parquet:{tmp_path}/twice.parquet?classes={','.join(tiny.CLASSES)}", *QUICK, "--out", "run"
    )
    assert said.status == 1, said
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (check,) = (check for check in results["checks"] if check["name"] == "copies stay together")
    assert (check["state"], check["count"], check["of"]) == ("fail", 60, 120)
    assert results["provenance"]["duplicates"] == 30
    assert "Images of which the given split puts an exact copy elsewhere" in (tmp_path / "run/report.html").read_text()


@pytest.mark.parametrize("rows", [3, 4, 5])
def test_a_handful_of_images_is_an_answer_or_a_paragraph(demur, good, tmp_path, rows):
    arrays, labels = pixels(rows)
    cells = [encoded(array) for array in arrays]
    pl.DataFrame({"image": cells, "label": labels}).write_parquet(tmp_path / "few.parquet")
    said = demur("audit", good, "parquet:few.parquet?classes=disc,bar,cross", "--set", "model.trust_labels=true")
    assert said.status in {1, 2, 3}
    assert "Traceback" not in said.err
    assert (said.status == 2) == ("needs readable tune rows" in said.err)


def test_images_the_model_was_trained_on_are_left_out_and_told(demur, good, address, tmp_path):
    learned = build_index(open_data(address)).contents[:12]
    save_file(tiny.Net().state_dict(), tmp_path / "w.safetensors")
    manifest_of(tmp_path / "w.safetensors").write_bytes(manifest_text(frozenset(learned)))
    assert demur("audit", f"{good}@w.safetensors", address, *QUICK, "--out", "run").status in {0, 1, 3}
    assert json.loads((tmp_path / "run" / "run.json").read_text())["excluded"] == 12
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["provenance"]["excluded_samples"] == 12
    assert results["accuracy"]["n"] == ROWS - 12
    assert "12 images that the model was trained on" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=[pytest.mark.slow] * case.large) for case in CASES]
)
def test_the_table_of_malformed_inputs(demur, case, tmp_path, request):
    request.addfinalizer(lambda: subprocess.run(["rm", "-rf", tmp_path / "set"], check=True))  # deeper than Python goes
    arguments = case.arguments()
    if case.failed is None:
        refused(demur(*arguments), *case.words)
    else:
        said = demur(*arguments, "--out", "run")
        assert said.status in {0, 1, 3}, said
        table = pl.read_parquet(tmp_path / "run" / "records" / "c000-*.parquet")
        lost = table.filter(pl.col("error").is_not_null())
        assert len(lost) == case.failed
        assert all(word in error for error in lost["error"] for word in case.words), lost["error"].to_list()
        assert f"{case.failed} of {len(table)} images could not be read" in said.out
        assert f"{case.failed} of {len(table)} images could not be read" in (tmp_path / "run/summary.md").read_text()
