import json

import pytest

from demur import seal
from demur.errors import RunError
from demur.files import write_json
from demur.ledger import Inquiry, LabelledRows
from demur.openings import FILE, keep_rows, note, note_looks, openings


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


def inquiry(*names, model="m", source=None):
    rows = LabelledRows.of(names, [0] * len(names))
    return Inquiry(rows=rows, model=model, menu=("msp",), procedure="p", source=source)


def look(run, *names, statements=("s",), **changes):
    return note_looks(run, "audit", inquiry(*names, **changes), statements)


def test_looks_at_shared_rows_are_counted_though_the_data_differ(tmp_path):
    runs = [folder(tmp_path / "runs" / name, data=name) for name in "abcd"]
    rows = (("1", "2"), ("2", "3"), ("8", "9"), ("1", "9"))
    assert [look(run, *each) for run, each in zip(runs, rows, strict=True)] == [
        ([1], "runs"), ([2], "runs"), ([1], "runs"), ([4], "runs"),
    ]  # fmt: skip
    assert [look(run, *each)[0] for run, each in zip(runs, rows, strict=True)] == [[1], [2], [1], [4]]


def test_every_statement_of_a_plan_is_a_look_in_its_order(tmp_path):
    run = folder(tmp_path / "runs" / "a")
    assert look(run, "1", statements=("s", "t")) == ([1, 2], "runs")
    assert look(run, "1", statements=("u", "t")) == ([3, 2], "runs")


def test_a_repeat_in_another_folder_is_the_same_look_and_is_still_noted(tmp_path):
    one, two = folder(tmp_path / "runs" / "a"), folder(tmp_path / "runs" / "b", plan="with other attacks")
    assert look(one, "1", "2") == look(two, "2", "1") == ([1], "runs")
    assert [entry["run"] for entry in openings(two)] == ["a", "b"]


def test_a_look_begun_before_another_keeps_its_number_when_it_goes_on(tmp_path):
    one, two = folder(tmp_path / "runs" / "a"), folder(tmp_path / "runs" / "b")
    assert look(one, "1")[0] == [1]
    assert look(two, "1", model="n")[0] == [2]
    assert look(one, "1")[0] == [1]


def test_the_ids_lie_in_the_run_folder_sealed_and_hidden_beside_it(tmp_path):
    run = folder(tmp_path / "runs" / "a")
    seal.begin(run)
    look(run, "1", "2")
    rows = inquiry("1", "2").rows
    assert (run / "opened" / rows.name).read_bytes() == rows.content
    assert (run.parent / ".opened" / rows.name).read_bytes() == rows.content
    assert f"opened/{rows.name}" in seal.read_seal(run)
    (run / "opened" / rows.name).write_bytes(b"12345678")
    assert seal.harmed(run) == [f"opened/{rows.name}"]
    keep_rows(run, rows)
    assert seal.harmed(run) == []


def test_a_folder_that_was_moved_away_still_counts_its_series(tmp_path):
    one, two = (folder(tmp_path / "runs" / name, data=name) for name in "ab")
    look(one, "1", "2")
    assert look(two, "2", "3")[0] == [2]
    (tmp_path / "elsewhere").mkdir()
    moved = two.rename(tmp_path / "elsewhere" / "b")
    assert look(moved, "2", "3")[0] == [2]
    assert look(moved, "3", model="n")[0] == [3]


def test_where_nothing_can_be_written_beside_the_run_what_can_be_read_still_counts(tmp_path):
    one, two = (folder(tmp_path / "runs" / name) for name in "ab")
    look(one, "1")
    beside = tmp_path / "runs" / FILE
    kept = beside.read_text()
    beside.unlink()
    beside.symlink_to(tmp_path / "nowhere" / FILE)
    assert look(two, "1", model="n") == ([1], "run")
    beside.unlink()
    beside.write_text(kept)
    assert look(two, "1", model="n") == ([2], "runs")


def test_openings_of_other_data_of_a_series_are_kept_and_not_told(tmp_path):
    one, two = (folder(tmp_path / "runs" / name, data=name) for name in "ab")
    look(one, "1")
    look(two, "1", "2")
    assert [entry["run"] for entry in openings(two)] == ["b"]
    assert len((two / FILE).read_text().splitlines()) == 2


def test_a_line_of_an_earlier_version_is_no_look(tmp_path):
    run = folder(tmp_path / "runs" / "a")
    note(run, "certify", "audit")
    assert look(run, "1") == ([1], "runs")


def test_a_folder_that_was_moved_away_still_tells_its_own_rows_from_others(tmp_path):
    run = folder(tmp_path / "runs" / "a")
    look(run, "1", "2")
    (tmp_path / "elsewhere").mkdir()
    moved = run.rename(tmp_path / "elsewhere" / "a")
    assert look(moved, "8", "9") == ([1], "runs")
    assert look(moved, "2", "9") == ([3], "runs")
