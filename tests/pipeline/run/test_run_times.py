"""What was spent is the sum over all starts of a run, killed ones too, and over those of the parts it was merged of."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from tests import tiny
from tests.pipeline.run import test_part_run as parts

from demur.analysis import analyse
from demur.files import json_bytes, read_json
from demur.pipeline.job import shards
from demur.pipeline.run.begun import begun_run
from demur.pipeline.run.merged_parts import merge_parts
from demur.pipeline.run.part_run import freeze_run
from demur.pipeline.run.planned_effort import PARTS, PLANNED, SPENT
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.run_times import TIMES, RunTimes, Start
from demur.seal import write_sealed


def lines(run):
    return [json.loads(line) for line in (run / TIMES).read_text().splitlines()]


def starts(run):
    return list(dict.fromkeys(line["start"] for line in lines(run)))


def of_shards(found):
    return sum(line["cpu"] for line in found if line["name"].startswith("c0"))


def seconds(found):
    """Of each start how long it went on until its last line."""
    return [max(line["since"] for line in found if line["start"] == each) for each in {line["start"] for line in found}]


def test_every_line_says_which_start_it_is_of_and_how_long_that_went_on(finished):
    found = lines(finished)
    (start,) = starts(finished)
    assert [line["since"] for line in found] == sorted(line["since"] for line in found)
    assert [line["name"] for line in found if line["name"] == "beginning"] == [found[0]["name"]]
    for before, line in pairwise(found):  # of one process, so that nothing counts twice
        assert line["since"] - line["seconds"] > before["since"] - 0.01
    assert found[0]["seconds"] == pytest.approx(found[0]["since"], abs=0.01)
    assert {"fitting signals", "policies", "trials", "manifest"} <= {line["name"] for line in found}
    assert start not in {Start.now().name, Start.now().name}


def test_a_run_that_was_broken_off_counts_both_starts(tmp_path):
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        tiny.interrupt(patch, lambda condition: condition.kind == "corruption")
        with pytest.raises(KeyboardInterrupt):
            tiny.run(run)
    first = lines(run)
    assert first[-1]["name"] == "c007-s0000"  # of the corruption at which it was broken off
    tiny.run(run)
    found = lines(run)
    assert found[: len(first)] == first
    assert len(starts(run)) == 2
    results = analyse(run)
    effort = results.effort
    assert effort.starts == 2
    assert effort.parts is None
    assert sum(row.seconds for row in effort.rows) == pytest.approx(of_shards(found))
    assert sum(row.seconds for row in effort.rows) > of_shards(found[len(first) :])
    assert effort.others == pytest.approx(sum(line["cpu"] for line in found) - of_shards(found))
    assert results.provenance.seconds == pytest.approx(sum(seconds(found)), abs=1e-6)
    last = max(line["since"] for line in found[len(first) :])
    assert results.provenance.seconds - last == pytest.approx(first[-1]["since"])


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from tests import tiny
from demur.pipeline.run.run_writer import RunWriter

add = RunWriter.add

def last(self, name, condition, shard):
    if name == "c003-s0000":
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, name, condition, shard)

RunWriter.add = last
tiny.run(Path({run!r}))
"""


def test_a_start_that_was_killed_counts_even_the_shard_that_it_measured_and_did_not_write(tmp_path):
    run = tmp_path / "run"
    code = KILLED.format(tests=str(Path(__file__).parents[3]), run=str(run))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == -signal.SIGKILL
    first = lines(run)
    assert first[-1]["name"] == "c003-s0000"
    tiny.run(run)
    found = lines(run)
    assert sum(line["name"] == "c003-s0000" for line in found) == 2
    assert analyse(run).effort.starts == 2
    assert analyse(run).provenance.seconds == pytest.approx(sum(seconds(found)), abs=1e-6)


def test_a_finished_run_that_is_asked_for_again_spends_nothing(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    before = (run / TIMES).read_bytes()
    tiny.run(run)
    assert (run / TIMES).read_bytes() == before


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    place = tmp_path_factory.mktemp("parts")
    run = parts.in_parts(place, 2)
    parts.ended(run)
    return run


def test_a_merged_run_spent_what_its_parts_did_and_the_freeze_and_the_end(merged):
    own = [lines(merged.parent / f"part{number}") for number in (1, 2)]
    found, results = lines(merged), analyse(merged)
    named = {line["start"] for part in own for line in part}
    assert len(named) == 4
    assert len({line["start"] for line in found} - named) == 2
    assert all(line in found for part in own for line in part)
    assert len(found) == len({json.dumps(line) for line in found})
    assert (results.effort.starts, results.effort.parts) == (6, 2)
    assert sum(row.seconds for row in results.effort.rows) == pytest.approx(sum(map(of_shards, own)))
    assert results.provenance.seconds == pytest.approx(sum(seconds(found)), abs=1e-6)


def test_what_a_merged_run_planned_is_the_whole_by_what_the_first_shards_of_its_parts_took(merged, finished):
    planned, single = read_json(merged / PLANNED), read_json(finished / PLANNED)
    plans = [read_json(merged.parent / f"part{number}" / PLANNED)["kinds"]["clean"] for number in (1, 2)]
    pace = sum(plan["seconds"] for plan in plans) / sum(plan["passes"] for plan in plans)
    assert planned["kinds"].keys() == single["kinds"].keys()
    for kind, told in planned["kinds"].items():
        assert {name: told[name] for name in ("rows", "passes")} == {
            name: single["kinds"][kind][name] for name in ("rows", "passes")
        }
        assert told["seconds"] == pytest.approx(pace * told["passes"], abs=0.01)
        assert told["bytes"] == pytest.approx(single["kinds"][kind]["bytes"], rel=0.2)
    memory = [read_json(merged.parent / f"part{number}" / SPENT)["memory"] for number in (1, 2)]
    assert read_json(merged / SPENT)["memory"] >= max(memory)


def test_a_merge_that_is_made_again_changes_neither(merged, tmp_path):
    shutil.copytree(merged.parent, tmp_path / "all")
    run, names = tmp_path / "all" / "run", (TIMES, PARTS)
    before = [(run / name).read_bytes() for name in names]
    merge_parts(sorted((tmp_path / "all").glob("part?")), run)
    assert [(run / name).read_bytes() for name in names] == before


def test_parts_of_an_earlier_version_have_no_plan_and_the_run_is_read(tmp_path):
    run = tmp_path / "run"
    folders = [done.folder for done in parts.phase(tmp_path, 1)]
    merge_parts(folders, run)
    freeze_run(run, tiny.Quiet(), others=parts.given())
    parts.phase(tmp_path, 1, frozen=run)
    for folder in folders:
        for name in (PLANNED, SPENT):
            (folder / name).unlink()
    (run / PARTS).unlink()
    merge_parts(folders, run)
    assert read_json(run / PARTS) == {"1/1": {"memory": 0, "planned": None}}
    parts.ended(run)
    assert not (run / PLANNED).exists()
    assert analyse(run).effort is None


def test_a_run_of_an_earlier_version_is_read(finished, tmp_path):
    """Without starts, and what its log says of time counts; lines that somebody wrote count nothing."""
    run = shutil.copytree(finished, tmp_path / "run")
    plain = [json.dumps({name: line[name] for name in ("name", "seconds", "cpu")}) for line in lines(run)]
    odd = ['{"name": "x", "cpu": "soon"}', '{"cpu": 1e999, "name": "y"}', '{"start": "z", "since": 1e999}', "{}"]
    (run / TIMES).write_text("\n".join([*plain, *odd[:2], odd[3]]))
    write_sealed(run, {SPENT: json_bytes({"memory": 7})})
    results, whole = analyse(run), analyse(finished)
    assert (results.effort.starts, results.effort.parts) == (None, None)
    assert results.effort.rows == whole.effort.rows
    assert results.effort.others == pytest.approx(whole.effort.others)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert results.provenance.seconds == sum(line["seconds"] for line in log if line["event"] == "finished")
    (run / TIMES).write_text("\n".join(odd))
    assert analyse(run).provenance.seconds == results.provenance.seconds


def test_times_are_taken_over_once_even_where_two_parts_measured_the_same(tmp_path):
    folders = [RunTimes(tmp_path / name, Start.now()) for name in ("one", "two", "run")]
    for folder in folders[:2]:
        folder.note("c000-s0000", 1.0, 0.5)
    for _ in range(2):
        for folder in folders[:2]:
            folders[2].adopt(folder.run, ())
    assert [line["start"] for line in lines(tmp_path / "run")] == [folder.start.name for folder in folders[:2]]


def test_the_first_line_holds_what_came_before_the_folder(tmp_path):
    given = StandIns(source=tiny.source(), classifier=tiny.classifier())
    with begun_run(tiny.plan(), tmp_path / "run", tiny.Quiet(), given, Resources()) as (job, folder, _, _):
        assert list(shards(job))
        folder.times.note_beginning()
    (line,) = lines(tmp_path / "run")
    assert line["cpu"] > 0
    assert line["seconds"] > 0.01
