"""An audit leaves what it expects after its first shard, and what it held; the table of both is of that run."""

import json

from tests import tiny

from demur.analysis import analyse
from demur.files import json_bytes, read_json
from demur.pipeline.run.planned_effort import PLANNED, SPENT
from demur.records import read, shard_entries
from demur.seal import write_sealed


def spent(run, kind):
    facts = read_json(run / "run.json")["conditions"]
    tables = [read(run, entry["name"]) for entry in facts if entry["kind"] == kind]
    return sum(map(len, tables)), sum(int(each["forwards"].sum() + each["backwards"].sum()) for each in tables)


def test_rows_and_passes_of_each_kind_are_planned_and_counted(finished):
    found = {row.kind: row for row in analyse(finished).effort.rows}
    assert set(found) == {"clean", "attack", "corruption"}
    for kind, row in found.items():
        assert (row.rows, row.passes) == spent(finished, kind)
        assert row.planned_seconds > 0
        assert 0.5 * row.bytes < row.planned_bytes < 2 * row.bytes
    for kind in ("clean", "corruption"):
        assert found[kind].planned_passes == found[kind].passes


def test_seconds_and_bytes_are_those_of_the_shards(finished):
    lines = [json.loads(line) for line in (finished / "timings" / "times.jsonl").read_text().splitlines()]
    shards = {entry["shard"] for entry in shard_entries(finished)}
    effort = analyse(finished).effort
    measured = sum(line["cpu"] for line in lines if line["name"] in shards)
    assert abs(sum(row.seconds for row in effort.rows) - measured) < 1e-6
    assert abs(effort.others - sum(line["cpu"] for line in lines) + measured) < 1e-6
    assert sum(row.bytes for row in effort.rows) == sum(
        path.stat().st_size for path in (finished / "records").glob("*.parquet")
    )
    assert effort.memory >= effort.planned_memory > 10**7


def test_what_was_planned_first_stays_and_no_result_tells_of_it(finished, tmp_path):
    with_patch = tmp_path / "run"
    run = tiny.run(with_patch, conditions=("clean",))
    first = (run / PLANNED).read_bytes()
    (run / "records" / "c000-s0000.parquet").unlink()
    write_sealed(run, {SPENT: json_bytes({"memory": 10**13})})  # as if the start before had held more
    tiny.run(with_patch, conditions=("clean",))
    assert (run / PLANNED).read_bytes() == first
    assert read_json(run / SPENT)["memory"] == 10**13
    assert "planned_seconds" not in analyse(finished).text
