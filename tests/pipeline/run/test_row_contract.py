"""A shard whose file is as it was written and whose rows are none counts neither in a merge nor when a run goes on."""

import json
import re
import shutil

import polars as pl
import pytest
import torch
from tests import every_section, tiny

from demur import seal
from demur.errors import RunError
from demur.files import JOURNAL, checked_line, read_json, write_json
from demur.pipeline.run.merged_parts import merge_parts
from demur.pipeline.run.part_run import Part, freeze_run, measure_part
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.row_contract import RowContract
from demur.records import read, read_shard, shard_entries
from demur.signals.softmax_scores import MSP

CLEAN, LATE = "c000-s0000", "c001-s0000"
OTHERS = StandIns(source=tiny.source(), classifier=tiny.classifier())


def put(**columns):
    return lambda table: table.with_columns(**columns)


FAULTS = {
    "no answer": (put(predicted=pl.lit(None, pl.Int32)), "predicted is none of the 3 classes"),
    "one without": (
        put(predicted=pl.when(pl.int_range(pl.len()) > 0).then("predicted")),
        "predicted is none of the 3 classes on 1 of its",
    ),
    "class 3": (put(predicted=pl.lit(3, pl.Int32)), "predicted is none of the 3 classes"),
    "class -1": (put(predicted=pl.lit(-1, pl.Int32)), "predicted is none of the 3 classes"),
    "label 3": (put(label=pl.lit(3, pl.Int32)), "label is none of the 3 classes"),
    "no label": (put(label=pl.lit(None, pl.Int32)), "label is none of the 3 classes"),
    "no split": (lambda table: put(split=pl.lit(None, table.schema["split"]))(table), "split is empty on"),
    "no column": (lambda table: table.drop("predicted"), "column 'predicted' must be Int32; found none"),
    "other type": (put(predicted=pl.col("predicted").cast(pl.String)), "must be Int32; found String"),
    "no logit": (lambda table: table.drop("logit.2"), r"column 'logit\.2' must be Float32; found none"),
    "no signal": (lambda table: table.drop("signal.msp"), r"column 'signal\.msp' must be Float64; found none"),
    "NaN": (put(**{"signal.msp": pl.lit(float("nan"))}), r"signal\.msp is no number on"),
    "no score": (put(**{"signal.msp": pl.lit(None, pl.Float64)}), r"signal\.msp is no number on"),
    "twice": (lambda table: pl.concat([table[:-1], table[:1]]), "an image is in it twice"),
    "fewer": (lambda table: table[:-1], "it must have"),
    "other": (put(condition=pl.lit("clean ")), "it must have"),
    "text": (None, "it cannot be read as Parquet"),
}


def forge(folder, name, change):
    """Other rows for a shard, and their hash wherever its own is."""
    path, journal = folder / "records" / f"{name}.parquet", folder / JOURNAL
    if change is None:
        path.write_text("hello")
    else:
        change(pl.read_parquet(path)).write_parquet(path)
    own = {"sha256": seal.file_sha256(path)}
    entries = [checked_line(entry | (own if entry["shard"] == name else {})) for entry in shard_entries(folder)]
    if journal.exists():
        journal.write_text("".join(f"{json.dumps(entry, sort_keys=True)}\n" for entry in entries))
    else:
        write_json(folder / seal.MANIFEST, entries)
        seal.seal_file(folder, seal.MANIFEST)


def measured(place, frozen=None):
    return measure_part(
        tiny.plan(), Part(number=1, count=1), place / "part", tiny.Quiet(), frozen=frozen, others=OTHERS
    ).folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A part that holds every shard, the frozen folder, and that folder before it was frozen."""
    place = tmp_path_factory.mktemp("whole")
    part = measured(place)
    run = merge_parts([part], place / "run").folder
    shutil.copytree(run, place / "clean")
    freeze_run(run, tiny.Quiet(), others=OTHERS)
    measured(place, run)
    return place


@pytest.fixture
def place(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "place")


def bytes_of(folder, name):
    return (folder / "records" / f"{name}.parquet").read_bytes()


@pytest.mark.parametrize("how", FAULTS)
def test_a_faulty_shard_of_a_part_is_named_and_not_taken(how, place):
    change, words = FAULTS[how]
    forge(place / "part", LATE, change)
    found = merge_parts([place / "part"], place / "run")
    (note,) = (note for note in found.notes if "does not count" in note)
    assert re.search(words, note), note
    assert f"part/records/{LATE}.parquet does not count" in note
    assert "Run that part again" in note
    assert found.missing == (LATE,)
    assert not (place / "run" / "records" / f"{LATE}.parquet").exists()


@pytest.mark.parametrize("how", ["no answer", "text"])
def test_the_part_measures_it_anew(how, place, whole):
    forge(place / "part", LATE, FAULTS[how][0])
    measured(place, place / "run")
    assert bytes_of(place / "part", LATE) == bytes_of(whole / "part", LATE)
    assert merge_parts([place / "part"], place / "run").whole


@pytest.mark.parametrize("how", ["no answer", "text"])
def test_one_that_was_taken_already_gives_way(how, place, whole):
    merge_parts([place / "part"], place / "run")
    forge(place / "run", LATE, FAULTS[how][0])
    found = merge_parts([place / "part"], place / "run")
    assert any(note.startswith(f"{place}/run/records/{LATE}.parquet does not count") for note in found.notes)
    assert (found.added, found.whole) == (1, True)
    assert bytes_of(place / "run", LATE) == bytes_of(whole / "part", LATE)


def test_what_was_fixed_by_a_faulty_clean_shard_is_fixed_anew(place):
    before = read_json(place / "run" / "facts" / "policies.json")
    forge(place / "run", CLEAN, FAULTS["no answer"][0])
    (place / "run" / "facts" / "policies.json").write_text("[]")
    seal.seal_file(place / "run", "facts/policies.json")
    found = merge_parts([place / "part"], place / "run")
    assert (found.frozen, found.missing_clean) == (False, ())
    freeze_run(place / "run", tiny.Quiet(), others=OTHERS)
    assert read_json(place / "run" / "facts" / "policies.json") == before


def test_freezing_names_it_and_a_merge_takes_it_anew(place):
    forge(place / "clean", CLEAN, FAULTS["class 3"][0])
    with pytest.raises(RunError, match=r"lacks 1 of .* clean shards"):
        freeze_run(place / "clean", tiny.Quiet(), others=OTHERS)
    assert merge_parts([place / "part"], place / "clean").added == 1
    freeze_run(place / "clean", tiny.Quiet(), others=OTHERS)


def test_a_clean_shard_of_other_images_is_left_for_a_merge_to_replace(place):
    """By its rows alone nobody can tell that these are not the planned images; whoever has them can."""
    other = pl.col("sample_id").str.replace("^", "x")
    forge(place / "clean", CLEAN, put(sample_id=other))
    with pytest.raises(RunError, match=r"lacks 1 of .* clean shards"):
        freeze_run(place / "clean", tiny.Quiet(), others=OTHERS)
    assert merge_parts([place / "part"], place / "clean").added == 1
    freeze_run(place / "clean", tiny.Quiet(), others=OTHERS)


@pytest.mark.parametrize("how", FAULTS)
def test_a_run_that_goes_on_measures_it_anew_and_says_why(how, finished, tmp_path):
    folder, said = shutil.copytree(finished, tmp_path / "run"), tiny.Quiet()
    before = tiny.hashes(folder)
    said.say = (told := []).append
    forge(folder, LATE, FAULTS[how][0])
    tiny.run_plan(tiny.plan(), folder, said, tiny.source(), tiny.classifier())
    assert [name for name, content in tiny.hashes(folder).items() if content != before[name]] == []
    assert any(f"{LATE}.parquet does not count" in line and re.search(FAULTS[how][1], line) for line in told)


def test_rows_of_every_kind_are_sound(tmp_path, finished):
    """Of images without an object, of none of the classes, and that cannot be read, some columns are empty."""
    folders = [
        every_section.run(tmp_path / "sections"),
        tiny.run(tmp_path / "broken", tiny.Broken(tiny.source(), [3, 40])),
        finished,
    ]
    for folder in folders:
        contract = RowContract.of(read_json(folder / "run.json"))
        assert {contract.fault(folder, entry) for entry in shard_entries(folder)} == {None}


def test_a_shard_under_a_name_of_another_condition_is_none(finished):
    contract = RowContract.of(read_json(finished / "run.json"))
    entry = next(entry for entry in shard_entries(finished) if entry["shard"] == LATE)
    for name in ("c000-s0000", "c999-s0000", "x", 3):
        assert "is planned under its name" in contract.fault(finished, entry | {"shard": name})


def test_parts_of_scores_are_of_the_same_rows(place):
    contract = RowContract.of(read_json(place / "part" / "run.json"))
    (entry,) = (entry | {"parts": "-"} for entry in shard_entries(place / "part") if entry["shard"] == LATE)
    ids, file = read_shard(place / "part", LATE, ["sample_id"]), place / "part" / "parts" / f"{LATE}.parquet"
    file.parent.mkdir()
    sound, other = put(**{"part.a": pl.lit(0.5)}), put(**{"part.a": pl.lit("0.5")})
    for table, fault in ((sound(ids), None), (sound(ids[::-1]), "of other rows"), (other(ids), "or no numbers")):
        table.write_parquet(file)
        found = contract.fault(place / "part", entry)
        assert found is None if fault is None else fault in found
    file.write_text("hello")
    assert "cannot be read" in contract.fault(place / "part", entry)


def test_a_signal_that_gives_nan_is_asked_again_about_fewer_images(tmp_path, monkeypatch):
    """As it is where a model does: no row is without a score and without a reason."""
    real = MSP.__call__

    def broken(signal, evidence):
        scores = real(signal, evidence)
        return scores if len(scores) < 64 else scores * torch.nan

    monkeypatch.setattr(MSP, "__call__", broken)
    folder = tiny.run(tmp_path / "run", conditions=("clean",))
    assert not read(folder)["signal.msp"].is_nan().any()
    assert "signal 'msp' gave NaN on" in (folder / "log.jsonl").read_text()


def test_a_shard_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"{CLEAN}.parquet").write_text("hello")
    with pytest.raises(RunError, match=rf"{CLEAN}\.parquet cannot be read .* measures the shard anew"):
        read_shard(tmp_path, CLEAN, ["sample_id"])
