"""`demur guard watch` and `demur guard labels` over folders of frames: lines, alarms, state, a new certificate."""

import csv
import io
import json
import os
import time

import numpy as np
import pytest
from PIL import Image
from tests import guarded, tiny
from tests.cli.test_certify_commands import said

from demur.alarms import AlarmPlan, Alarms, reference_of
from demur.alarms.betting_process import Wealth
from demur.guard import Guard
from demur.guard.file_list import verify_files

FRAMES = 300


def saved(folder, images, names):
    for name, image in zip(names, images, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255).round().byte().permute(1, 2, 0).squeeze(-1).numpy()).save(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A guard, frames like those it knows, and grey ones that it does not."""
    place = tmp_path_factory.mktemp("watch")
    guarded.written(place / "guard")
    images, labels = tiny.images_and_labels()
    names = [f"{k:04}.png" for k in range(FRAMES)]
    saved(place / "frames", images[:FRAMES], names)
    saved(place / "grey", images[:200] * 0 + 0.5, names[:200])
    rows = "".join(f"{name},{tiny.CLASSES[label]}\n" for name, label in zip(names, labels.tolist(), strict=False))
    (place / "truth.csv").write_text("path,label\n" + rows)
    return place


def watched(capsys, world, frames, *options):
    return said(capsys, "guard", "watch", world / "guard", world / frames, "--once", *options)


def test_each_frame_is_a_line_in_the_order_of_names_and_alarms_are_said_beside(world, capsys):
    status, out, err = watched(capsys, world, "frames", "--feedback", "0.5")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [line["image"] for line in lines] == [f"{k:04}.png" for k in range(FRAMES)]
    expected = Guard.load(world / "guard").read([world / "frames" / line["image"] for line in lines])
    assert [line["accepted"] for line in lines] == expected.accepted.tolist()
    assert [line["label"] for line in lines] == list(expected.labels)
    scores = np.array([line["score"] for line in lines])
    assert 0.3 < np.mean([line["wanted"] for line in lines]) < 0.7
    assert lines[48]["window"] is None
    assert lines[-1]["window"] == pytest.approx(scores[-50:].mean())
    assert "ALARM" not in err
    assert f"{FRAMES:,} frames, {int((~expected.accepted).sum())} to a person." in err
    assert reference_of(world / "guard").sentence in err
    assert "Each alarm is false with probability at most 0.01 over the whole stream" in err


def test_an_alarm_is_said_once_and_is_status_1(world, capsys):
    status, out, err = watched(capsys, world, "grey", "--csv", "--window", "20")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 1
    assert len(rows) == 200
    assert err.count("ALARM (workload): More goes to a person than before") == 1
    assert err.count("window: the mean score of the last 20 frames is above") == 1
    assert rows[19]["above"] == "True"


def test_an_alarm_is_put_back_with_a_reason_and_nothing_else_is(world, tmp_path, capsys):
    state = tmp_path / "state.sqlite"
    guard = ("guard", "reset", world / "guard", state)
    assert "there is no state of alarms" in said(capsys, *guard, "workload", "new lamps")[2]
    assert watched(capsys, world, "grey", "--state", state, "--alpha", "0.05")[0] == 1
    assert "the harm alarm is quiet" in said(capsys, *guard, "harm", "new lamps")[2]
    assert "unknown alarm 'all'" in said(capsys, *guard, "all", "new lamps")[2]
    status, out, _ = said(capsys, *guard, "workload", "new lamps")
    assert status in {0, None}
    assert out.startswith("The workload alarm was put back at 2")
    assert out.endswith(": new lamps\n")
    status, out, err = watched(capsys, world, "grey", "--state", state, "--alpha", "0.05")
    assert (status, out) == (0, "")
    assert "No evidence that the share" in err


def test_without_a_window_none_is_watched_and_unreadable_frames_have_no_score(world, tmp_path, capsys):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "broken.png").write_bytes(b"no picture")
    status, out, err = said(capsys, "guard", "watch", world / "guard", tmp_path / "frames", "--once", "--window", "0")
    (line,) = map(json.loads, out.splitlines())
    assert (status, line["reason"], line["score"], line["label"], line["window"]) == (0, "unreadable", None, None, None)
    assert "window:" not in err


def test_a_state_continues_and_frames_are_decided_once(world, tmp_path, capsys):
    state = tmp_path / "state.sqlite"
    first = watched(capsys, world, "frames", "--state", state)[1]
    assert len(first.splitlines()) == FRAMES
    status, out, err = watched(capsys, world, "frames", "--state", state)
    assert (status, out) == (0, "")
    assert f"{FRAMES:,} frames" in err
    alarms = Alarms.open(state, reference_of(world / "guard"), AlarmPlan(), guard_sha256=verify_files(world / "guard"))
    assert alarms.status().images == FRAMES
    alarms.close()


def test_folders_are_sequences(world, tmp_path, capsys):
    images = tiny.images_and_labels()[0]
    saved(tmp_path / "runs", images[:60], [f"run{k // 20}/{k:02}.png" for k in range(60)])
    _, out, err = said(
        capsys, "guard", "watch", world / "guard", tmp_path / "runs", "--once", "--group", "sequence",
        "--state", tmp_path / "runs" / "state.sqlite",
    )  # fmt: skip
    assert [json.loads(line)["sequence"] for line in out.splitlines()] == [f"run{k // 20}" for k in range(60)]
    assert "if sequences are independent of one another" in err


def test_folders_that_fill_at_once_are_open_at_once(world, tmp_path, capsys):
    """Frames of two cameras in turn, as a state goes on; with one open sequence each frame would end the other's."""
    images, state = tiny.images_and_labels()[0], tmp_path / "state.sqlite"
    for k in range(4):
        saved(tmp_path / "runs", images[2 * k : 2 * k + 2], [f"left/{k}.png", f"right/{k}.png"])
        watched_runs = ("guard", "watch", world / "guard", tmp_path / "runs", "--once", "--group", "sequence")
        said(capsys, *watched_runs, "--state", state, "--longest", "4", "--window", "0")
    alarms = Alarms.open(
        state, reference_of(world / "guard"), AlarmPlan(group="sequence", longest=4),
        guard_sha256=verify_files(world / "guard"),
    )  # fmt: skip
    status = alarms.status()
    alarms.close()
    assert status.sequences == {"open": 0, "ended": 2, "came_again": 0, "unnamed": 0}
    assert status.workload.counts["units"] == 2


def test_labels_that_are_late_are_taken_in_the_order_of_their_questions(world, tmp_path, capsys, monkeypatch):
    """A table from last to first, read after all are overdue: each still counts."""
    state, table = tmp_path / "state.sqlite", tmp_path / "labels.csv"
    watched(capsys, world, "frames", "--state", state, "--feedback", "1")
    rows = (world / "truth.csv").read_text().splitlines()
    table.write_text("\n".join([rows[0], *rows[:0:-1]]) + "\n")
    later = time.time() + 8 * 86_400
    monkeypatch.setattr("time.time", lambda: later)
    monkeypatch.setattr(
        Alarms.open.__func__, "__kwdefaults__", {**Alarms.open.__func__.__kwdefaults__, "clock": time.time}
    )
    watched(capsys, world, "frames", "--state", state, "--feedback", "1", "--labels", table)
    alarms = Alarms.open(state, reference_of(world / "guard"), AlarmPlan(), guard_sha256=verify_files(world / "guard"))
    found, expected = alarms.status().harm, Wealth.start(reference_of(world / "guard").risk)
    told = [row[0] for row in alarms._store.rows("SELECT correct FROM images WHERE question > 0 ORDER BY question")]
    alarms.close()
    for correct in told:
        expected = expected.after(1.0 - correct)
    assert 0 < told.count(0) < len(told) == found.counts["units"] == found.counts["questions"]
    assert found.evidence == pytest.approx(float(expected.total[0]), rel=1e-9)


def test_feedback_becomes_a_table_that_certifies_anew(world, tmp_path, capsys):
    state, table = tmp_path / "state.sqlite", tmp_path / "told.csv"
    options = ("--state", state, "--feedback", "1", "--labels", world / "truth.csv")
    status, _, err = watched(capsys, world, "frames", *options)
    assert status == 0
    assert "label:" not in err
    answered = int(Guard.load(world / "guard").read(sorted((world / "frames").iterdir())).accepted.sum())
    assert f" of {answered} labelled answers are wrong; 0 labels are missing" in err
    status, out, _ = said(capsys, "guard", "labels", state, table)
    assert status in {0, None}
    assert f"{FRAMES} images that dice chose, with their classes; {FRAMES - answered} of them went to a person" in out
    assert table.read_text().splitlines()[1] == (world / "truth.csv").read_text().splitlines()[1]
    status, out, err = said(
        capsys, "guard", "certify", world / "guard", f"csv:{table}?root={world / 'frames'}", "--out", tmp_path / "new",
    )  # fmt: skip
    assert status == 0, out + err
    assert f"{FRAMES} labelled images that this guard was not built on" in out
    assert reference_of(tmp_path / "new").rows == "certify"


def test_a_table_that_would_mislead_is_not_written(world, tmp_path, capsys):
    state = tmp_path / "state.sqlite"
    assert said(capsys, "guard", "labels", state, tmp_path / "out.csv")[0] == 2
    watched(capsys, world, "frames", "--state", state, "--feedback", "1")
    assert "has no image with a class" in said(capsys, "guard", "labels", state, tmp_path / "out.csv")[2]
    alarms = Alarms.open(state, reference_of(world / "guard"), AlarmPlan(), guard_sha256=verify_files(world / "guard"))
    alarms.feedback("0001.png", correct=False)
    alarms.close()
    status, _, err = said(capsys, "guard", "labels", state, tmp_path / "out.csv")
    assert status == 2
    assert "that the answer is wrong, and not what is right" in err
    assert not (tmp_path / "out.csv").exists()


def test_it_waits_for_frames_until_it_is_interrupted(world, tmp_path, capsys, monkeypatch):
    folder, images, waits = tmp_path / "frames", tiny.images_and_labels()[0], []
    folder.mkdir()

    def wait(seconds):
        """Two frames come, the third is still being written."""
        waits.append(seconds)
        if len(waits) == 4:
            raise KeyboardInterrupt
        name, old = f"{len(waits)}.png", time.time() - 10
        saved(folder, images[:1], [name])
        if len(waits) < 3:
            os.utime(folder / name, (old, old))

    monkeypatch.setattr("demur.cli.watch_command.time.sleep", wait)
    status, out, err = said(capsys, "guard", "watch", world / "guard", folder, "--interval", "0.25")
    assert (status, waits) == (130, [0.25] * 4)
    assert [json.loads(line)["image"] for line in out.splitlines()] == ["1.png", "2.png"]
    assert "2 frames" in err
    assert "interrupted" in err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--alpha", "0"), "`alpha` is the probability of a false alarm"),
        (("--group", "camera"), "unknown group of alarms 'camera'"),
        (("--window", "1000"), "a larger budget. --window 0 leaves the window out"),
        (("--state", "{guard}/state.sqlite"), "would lie in the guard"),
        (("--labels", "{guard}/guard.json"), "guard.json"),
    ],
)
def test_what_cannot_be_is_status_2(world, capsys, options, complaint):
    status, _, err = watched(capsys, world, "frames", *(each.format(guard=world / "guard") for each in options))
    assert status == 2
    assert complaint in err


def test_a_folder_that_is_not_there_is_named(world, capsys):
    status, _, err = said(capsys, "guard", "watch", world / "guard", world / "none", "--once")
    assert (status, "there is no folder of frames at" in err) == (2, True)
