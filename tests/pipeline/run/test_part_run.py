"""Audits in parts: merged, they are the bytes of the single run, for any number of them; what must not be mixed."""

import json
import shutil
from itertools import chain

import pytest
import torch
from tests import every_section, tiny

from demur import seal
from demur.classifier import BoundClassifier
from demur.errors import InputError, RunError
from demur.files import read_json
from demur.pipeline.job import DIED
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.plan.plan_tables import Signals
from demur.pipeline.run import run_writer
from demur.pipeline.run.crashes import NAME as CRASHES
from demur.pipeline.run.frozen import frozen_sha256, planned_shards
from demur.pipeline.run.kept_signals import UNKEPT
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.merged_parts import merge_parts
from demur.pipeline.run.part_run import Part, freeze_run, measure_part
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.run_times import TIMES
from demur.pipeline.run.run_writer import RunWriter
from demur.records import shard_entries


def given(model=None):
    return StandIns(source=tiny.source(), classifier=model or tiny.classifier())


def plan():
    return tiny.plan()


def phase(folder, count, frozen=None, of=None, numbers=None, others=None):
    return [
        measure_part(of or plan(), Part(number=each, count=count), folder / f"part{each}", tiny.Quiet(), frozen=frozen,
                     others=others or given())
        for each in numbers or range(1, count + 1)
    ]  # fmt: skip


def in_parts(folder, count, of=None, others=None):
    """A run folder merged of parts, before what is no row."""
    run = folder / "run"
    parts = [done.folder for done in phase(folder, count, of=of, others=others)]
    merge_parts(parts, run)
    freeze_run(run, tiny.Quiet(), others=others or given())
    phase(folder, count, frozen=run, of=of, others=others)
    found = merge_parts(parts, run)
    assert found.whole
    return run


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    return in_parts(tmp_path_factory.mktemp("three"), 3)


@pytest.fixture
def small_shards(monkeypatch):
    """Four shards for each condition instead of one or two."""
    monkeypatch.setattr("demur.pipeline.job.SHARD", 128)


def ended(run, others=None):
    found = read_plan(run / "plan.toml", (), {})
    others = others or given()
    run_plan(found, run, tiny.Quiet(), others.source, others.classifier)
    return tiny.hashes(run)


def test_merged_parts_are_the_bytes_of_the_single_run(merged, finished):
    single, ours = tiny.hashes(finished), ended(merged)
    assert ours.keys() == single.keys()
    assert [name for name in single if single[name] != ours[name]] == []


@pytest.mark.parametrize("count", [5, pytest.param(64, marks=pytest.mark.slow)])
def test_any_number_of_parts_comes_to_the_same_bytes(count, small_shards, tmp_path):
    single = tiny.hashes(tiny.run(tmp_path / "single"))
    assert sum(name.startswith("records/c000-") for name in single) > 2
    assert ended(in_parts(tmp_path / "parts", count)) == single


def test_maps_searches_and_hidden_parts_come_to_the_same_bytes_too(tmp_path):
    single = every_section.run(tmp_path / "single")
    others = StandIns(source=every_section.source(), classifier=every_section.classifier())
    own = read_plan(single / "plan.toml", (), {})
    assert ended(in_parts(tmp_path / "parts", 2, of=own, others=others), others) == tiny.hashes(single)


class Faulty(torch.nn.Module):
    """The net of the patterns; on two of the images it fails, alone or among others."""

    def __init__(self):
        super().__init__()
        self.net, self.bad = tiny.Net(), tiny.images_and_labels()[0][[5, 300]]

    def forward(self, x):
        if any(torch.equal(image, bad) for bad in self.bad for image in x):
            raise RuntimeError("segment of the model is gone")
        return self.net(x)


def faulty():
    return BoundClassifier(Faulty().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def test_rows_on_which_the_model_fails_are_left_out_of_the_second_phase_too(tmp_path):
    single = tiny.run(tmp_path / "single", model=faulty())
    others = given(faulty())
    own = read_plan(single / "plan.toml", (), {})
    ours = ended(in_parts(tmp_path / "parts", 2, of=own, others=others), others)
    assert {k: v for k, v in ours.items() if not k.startswith("facts/")} == {
        k: v for k, v in tiny.hashes(single).items() if not k.startswith("facts/")
    }
    errors = [json.loads(line) for line in (tmp_path / "parts" / "run" / "log.jsonl").read_text().splitlines()]
    assert any(line.get("what", "").startswith("c000") and line["rows"] == 2 for line in errors)


def test_a_part_is_no_run_and_says_what_it_measured(tmp_path):
    first, second = phase(tmp_path, 2, numbers=(1, 2))
    assert (first.own + second.own, first.all, first.frozen) == (first.all, second.all, False)
    assert not (first.folder / "results.json").exists()
    assert not RunWriter(first.folder).has(seal.MANIFEST)


def test_a_part_goes_on_with_what_it_has(tmp_path, monkeypatch):
    (done,) = phase(tmp_path, 1)
    before = shard_entries(done.folder)
    monkeypatch.setattr("demur.pipeline.run.part_run.Effort", None)  # nothing is left to measure
    phase(tmp_path, 1)
    assert shard_entries(done.folder) == before
    with pytest.raises(RunError, match=r"is part 1/1 of this audit, and this is 1/2. Choose another folder"):
        measure_part(plan(), Part(number=1, count=2), done.folder, tiny.Quiet(), others=given())


def test_merging_names_what_is_missing_and_takes_each_shard_once(tmp_path, small_shards):
    (first,) = phase(tmp_path, 2, numbers=[1])
    run = tmp_path / "run"
    found = merge_parts([first.folder], run)
    assert (found.added, found.there, found.frozen) == (first.own, 0, False)
    assert len(found.missing_clean) == first.all - first.own
    with pytest.raises(RunError, match=rf"lacks {len(found.missing_clean)} of {first.all} clean shards"):
        freeze_run(run, tiny.Quiet(), others=given())
    (second,) = phase(tmp_path, 2, numbers=[2])
    found = merge_parts([first.folder, second.folder, first.folder], run)
    assert (found.added, found.there) == (second.own, 2 * first.own)
    assert found.missing_clean == ()
    assert found.missing
    assert sorted(entry["shard"] for entry in shard_entries(run)) == sorted(
        name for name in planned_shards(read_json(run / "run.json")) if name.startswith("c000-")
    )


def test_a_killed_merge_goes_on(tmp_path, merged, monkeypatch):
    parts, run = sorted(merged.parent.glob("part*")), tmp_path / "run"
    write, left = run_writer.append_line, [2]

    def counted(*given):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        write(*given)

    monkeypatch.setattr(run_writer, "append_line", counted)
    with pytest.raises(KeyboardInterrupt):
        merge_parts(parts, run)
    monkeypatch.undo()
    there = len(shard_entries(run))
    found = merge_parts(parts, run)
    assert 0 < there < 3
    assert (found.added, found.missing_clean, found.frozen) == (3 - there, (), False)
    assert found.missing  # of the others no part is taken until the folder is frozen


def test_parts_can_be_merged_anew_from_the_beginning(tmp_path, merged):
    parts, run = sorted(merged.parent.glob("part*")), tmp_path / "run"
    merge_parts(parts, run)
    freeze_run(run, tiny.Quiet(), others=given())
    assert merge_parts(parts, run).whole


class TestWhatMustNotBeMixed:
    def test_other_images(self, tmp_path):
        (one,) = phase(tmp_path / "a", 2, numbers=[1])
        others = StandIns(source=tiny.source(rows=tiny.ROWS - 50), classifier=tiny.classifier())
        (two,) = phase(tmp_path / "b", 2, numbers=[2], others=others)
        with pytest.raises(RunError, match="another data"):
            merge_parts([one.folder, two.folder], tmp_path / "run")

    def test_other_plans(self, tmp_path):
        (one,) = phase(tmp_path / "a", 2, numbers=[1])
        (two,) = phase(tmp_path / "b", 2, numbers=[2], of=tiny.plan(seed=5))
        with pytest.raises(RunError, match=r"of another plan than most parts; these lines differ: .*seed = 5"):
            merge_parts([one.folder, one.folder, two.folder], tmp_path / "run")

    def test_a_plan_that_was_changed(self, tmp_path):
        (one, two) = phase(tmp_path, 2)
        (two.folder / "plan.toml").write_bytes(b"seed = 0 # \xff\n")
        with pytest.raises(RunError, match=r"part2/plan\.toml is not the file that was written"):
            merge_parts([one.folder, two.folder], tmp_path / "run")

    def test_a_shard_that_was_changed(self, tmp_path):
        (one,) = phase(tmp_path / "a", 1)
        run = merge_parts([one.folder], tmp_path / "whole").folder
        shard = next((one.folder / "records").glob("*.parquet"))
        shard.write_bytes(shard.read_bytes()[:-1] + b"?")
        found = merge_parts([one.folder], tmp_path / "run")
        assert shard.stem in found.missing_clean
        assert shard.stem not in merge_parts([one.folder], run).missing_clean

    def test_what_a_part_says_of_the_run(self, tmp_path):
        (one,) = phase(tmp_path / "a", 1)
        facts = read_json(one.folder / "run.json")
        (one.folder / "run.json").write_text(json.dumps({**facts, "seed": 9}))
        with pytest.raises(RunError, match=r"run\.json is not the file that was written"):
            merge_parts([one.folder], tmp_path / "run")

    def test_a_folder_that_is_no_part(self, tmp_path):
        with pytest.raises(InputError, match="is no part of an audit"):
            merge_parts([tmp_path], tmp_path / "run")

    def test_shards_after_another_freeze(self, tmp_path, merged, monkeypatch):
        run = tmp_path / "run"
        shutil.copytree(merged, run)
        monkeypatch.setattr("demur.pipeline.run.merged_parts.frozen_sha256", lambda _run: "0" * 64)
        with pytest.raises(RunError, match="after another freeze than that of"):
            merge_parts(sorted(merged.parent.glob("part*")), run)

    def test_nothing_is_measured_after_no_freeze(self, tmp_path):
        phase(tmp_path, 1)
        merge_parts([tmp_path / "part1"], tmp_path / "run")
        with pytest.raises(RunError, match=r"is not frozen: it lacks facts/policies.json"):
            phase(tmp_path, 1, frozen=tmp_path / "run")

    def test_a_frozen_folder_that_was_changed(self, tmp_path, merged):
        copy = tmp_path / "run"
        shutil.copytree(merged, copy)
        file = copy / "facts" / "policies.json"
        file.write_text(file.read_text().replace("1", "2", 1))
        with pytest.raises(RunError, match=r"policies\.json is not the file that was written"):
            frozen_sha256(copy)

    def test_a_frozen_folder_of_other_images(self, tmp_path, merged):
        others = StandIns(source=tiny.source(rows=tiny.ROWS - 50), classifier=tiny.classifier())
        with pytest.raises(RunError, match="another data"):
            phase(tmp_path, 2, numbers=[1], frozen=merged, others=others)


class TestFittedSignals:
    """Signals that must be fitted come from the frozen folder, or are fitted anew where they could not be kept."""

    @pytest.fixture
    def fitted_plan(self):
        return {"conditions": ("fgsm(eps=0.1)",), "signals": Signals(use=("msp", "relative_u"))}

    def test_they_are_read_or_fitted_to_the_same_bytes(self, tmp_path, fitted_plan):
        others = StandIns(source=tiny.source(rows=3000), classifier=tiny.classifier())
        single = tiny.run(tmp_path / "single", of=others.source, **fitted_plan)
        own = read_plan(single / "plan.toml", (), {})
        run = in_parts(tmp_path / "parts", 2, of=own, others=others)
        assert ended(run, others) == tiny.hashes(single)
        again = tmp_path / "again"
        shutil.copytree(run, tmp_path / "unkept", ignore=shutil.ignore_patterns("origin.json"))
        seal.unseal(tmp_path / "unkept", ["fitted/origin.json"])
        RunWriter(tmp_path / "unkept").log(UNKEPT, why="no file can hold them")
        (done,) = phase(again, 2, frozen=tmp_path / "unkept", of=own, numbers=[1], others=others)
        (name,) = [entry["shard"] for entry in shard_entries(done.folder) if entry["condition"] != "clean"][:1]
        file = f"records/{name}.parquet"
        assert (done.folder / file).read_bytes() == (run / file).read_bytes()

    def test_damaged_ones_are_named(self, tmp_path, fitted_plan):
        others = StandIns(source=tiny.source(rows=3000), classifier=tiny.classifier())
        own = tiny.plan(**fitted_plan)
        run = in_parts(tmp_path, 1, of=own, others=others)
        file = next(path for path in (run / "fitted").iterdir() if path.suffix == ".safetensors")
        file.write_bytes(file.read_bytes()[:-4] + b"1234")
        with pytest.raises(RunError, match=r"safetensors is not the file that was written. .*: demur freeze"):
            phase(tmp_path / "next", 2, frozen=run, of=own, numbers=[1], others=others)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "1/3/5", "-1/3", ""])
def test_a_part_is_one_of_so_many(text):
    with pytest.raises(InputError, match=r"--shard"):
        Part.of(text)


def test_every_shard_is_of_one_part():
    work = list(range(23))
    found = [Part.of(f"{each}/7").share(work) for each in range(1, 8)]
    assert sorted(chain.from_iterable(found)) == work
    assert {len(each) for each in found} == {3, 4}


def test_images_that_end_processes_are_known_to_the_merged_run(small_shards, tmp_path):
    """A part has met one, and so has the single run; what follows asks nobody about it any more."""
    of = tiny.plan(attacked=100_000)
    bad = "000005"
    for folder in (tmp_path / "single", tmp_path / "part1"):
        folder.mkdir()
        seal.begin(folder)
        RunWriter(folder).write_json(CRASHES, {bad: f"{DIED}ended by SIGSEGV"})
    single = run_plan(of, tmp_path / "single", tiny.Quiet(), tiny.source(), tiny.classifier())
    merged = in_parts(tmp_path, 2, of=of)
    assert read_json(merged / CRASHES) == {bad: f"{DIED}ended by SIGSEGV"}
    ours, theirs = ended(merged), tiny.hashes(single)
    assert [name for name in theirs if theirs[name] != ours.get(name)] == []


def test_an_image_that_another_part_measured_is_no_crash_of_the_merged_run(tmp_path):
    bad = "000005"
    (tmp_path / "part2").mkdir()
    seal.begin(tmp_path / "part2")
    RunWriter(tmp_path / "part2").write_json(CRASHES, {bad: f"{DIED}ended by SIGSEGV"})
    parts = [done.folder for done in phase(tmp_path, 2)]
    merge_parts(parts, tmp_path / "run")
    assert not (tmp_path / "run" / CRASHES).exists()


def test_what_parts_note_is_taken_over_once_even_if_a_merge_was_killed_or_a_line_was_cut(tmp_path, monkeypatch):
    (part,) = (done.folder for done in phase(tmp_path, 1))
    RunWriter(part).log("a process died", what="c000-s0000", why="ended by SIGSEGV", rows=3)
    with (part / TIMES).open("r+") as file:
        whole = file.read()
        file.seek(0)
        file.write('{"name": "c0' + whole + '[1]\n"c"}\n{"seconds": 1}\n')
    lines = whole.splitlines()[1:]
    run = tmp_path / "run"
    with monkeypatch.context() as killed:
        killed.setattr(RunWriter, "adopt_lines", lambda *_: None)
        merge_parts([part], run)
    assert not (run / TIMES).exists()
    for _ in range(2):
        assert merge_parts([part], run).added == 0
        assert (run / TIMES).read_text().splitlines() == lines
        events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        assert [(each["what"], each["rows"]) for each in events if each["event"] == "a process died"] == [
            ("c000-s0000", 3)
        ]


def test_of_times_of_an_earlier_version_those_of_shards_are_taken_over(tmp_path):
    (part,) = (done.folder for done in phase(tmp_path, 1))
    lines = [json.loads(line) for line in (part / TIMES).read_text().splitlines()]
    plain = [json.dumps({name: line[name] for name in ("name", "seconds", "cpu")}) for line in lines]
    (part / TIMES).write_text("".join(f"{line}\n" for line in plain))
    for _ in range(2):
        merge_parts([part], tmp_path / "run")
        found = (tmp_path / "run" / TIMES).read_text().splitlines()
        assert found == [line for line in plain if '"c000-' in line]


def test_a_part_that_lost_what_it_is_says_what_helps_and_measures_late_shards_anew(tmp_path, merged):
    shutil.copytree(merged.parent / "part1", tmp_path / "part1")
    shutil.copytree(merged, tmp_path / "run")
    part, run = tmp_path / "part1", tmp_path / "run"
    before = {entry["shard"] for entry in shard_entries(part)}
    (part / "facts" / "part.json").unlink()
    with pytest.raises(RunError, match=r"part\.json was lost\. Run this part again .*measures them anew"):
        merge_parts([part], run)
    phase(tmp_path, 3, numbers=[1], frozen=run)
    assert {entry["shard"] for entry in shard_entries(part)} == before
    assert merge_parts([part], run).there == len(before)
