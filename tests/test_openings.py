import json

import pytest

from demur.errors import RunError
from demur.openings import FILE, note, openings
from demur.records import write_json


def folder(path, data="d", model="m", plan="p", gates=""):
    path.mkdir(parents=True)
    write_json(path / "run.json", {"data_sha256": data, "model_sha256": model, "plan_sha256": plan})
    (path / "plan.toml").write_text(f"[gates]\n{gates}")
    return path


def test_an_opening_says_who_opened_what_and_when(tmp_path):
    run = folder(tmp_path / "runs" / "a", gates='"clean.accuracy" = ">= 0.5"')
    note(run, "certify", "audit")
    note(run, "test", "report")
    first, second = openings(run)
    assert (first["split"], first["by"], second["split"], second["by"]) == ("certify", "audit", "test", "report")
    assert first["at"] < second["at"]
    assert second["run"] == "a"
    assert second["gates"] == {"clean.accuracy": ">= 0.5"}


def test_runs_on_the_same_images_know_of_each_other_and_of_no_others(tmp_path):
    one, two = folder(tmp_path / "runs" / "a"), folder(tmp_path / "runs" / "b", model="n", plan="q")
    other = folder(tmp_path / "runs" / "c", data="e")
    for run in (one, other, two):
        note(run, "test", "audit")
    assert [entry["run"] for entry in openings(two)] == ["a", "b"]
    assert [entry["run"] for entry in openings(other)] == ["c"]
    assert [entry["run"] for entry in openings(one)] == ["a"]
    note(one, "test", "report")
    assert [entry["run"] for entry in openings(one)] == ["a", "b", "a"]


def test_a_folder_that_was_moved_away_keeps_what_it_knew(tmp_path):
    run = folder(tmp_path / "runs" / "a")
    note(run, "test", "audit")
    moved = run.rename(tmp_path / "b")
    note(moved, "test", "report")
    assert len(openings(moved)) == 2
    assert len((tmp_path / FILE).read_text().splitlines()) == 1


def test_where_nothing_can_be_written_beside_the_run_the_line_says_so(tmp_path):
    run = folder(tmp_path / "runs" / "a")
    note(run, "test", "audit")
    (tmp_path / "runs" / FILE).unlink()
    (tmp_path / "runs" / FILE).symlink_to(tmp_path / "nowhere" / FILE)
    note(run, "test", "report")
    assert [entry["scope"] for entry in openings(run)] == ["runs", "run"]


def test_a_damaged_line_is_named(tmp_path):
    run = folder(tmp_path / "runs" / "a")
    (run.parent / FILE).write_text('{"at": ')
    with pytest.raises(RunError, match=r"opened\.jsonl says how often .* cannot be read"):
        note(run, "test", "audit")


def test_lines_are_json_in_order_of_time(tmp_path):
    run = folder(tmp_path / "runs" / "a")
    for _ in range(5):
        note(run, "test", "report")
    times = [json.loads(line)["at"] for line in (run / FILE).read_text().splitlines()]
    assert times == sorted(times)
    assert len(set(times)) == 5
