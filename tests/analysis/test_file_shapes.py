"""Files of another shape are named with the place and the rule, whatever is in them; those of every audit fit."""

import copy
import json
import shutil
from pathlib import Path

import pytest
from tests import tiny

from demur.analysis import analyse
from demur.analysis.file_shapes import FACTS, REQUIRED, check_shape, check_shapes
from demur.errors import RunError
from demur.files import read_json, write_json

GOLDEN = Path(__file__).parents[1] / "golden" / "run-v1"


@pytest.fixture
def run(tmp_path):
    folder = shutil.copytree(GOLDEN, tmp_path / "run")
    (folder / "seal.json").unlink()  # as earlier versions left it: nothing but its shape tells what was changed
    write_json(folder / "run.json", {k: v for k, v in read_json(folder / "run.json").items() if k != "sealed"})
    shards = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", [{k: v for k, v in each.items() if k != "check"} for each in shards])
    return folder


def test_what_an_audit_writes_fits(folder):
    check_shapes(folder)
    assert {str(path.relative_to(folder)) for path in folder.glob("facts/*")} - set(FACTS) <= {"facts/answers.json"}


def changed(value, place, new):
    """A copy of a value with another at a place in it; `...` takes it away."""
    found = copy.deepcopy(value)
    at = found
    for key in place[:-1]:
        at = at[key]
    if new is ...:
        del at[place[-1]]
    else:
        at[place[-1]] = new
    return found


@pytest.mark.parametrize(
    ("name", "place", "new"),
    [
        ("run.json", ("classes",), "ten"),
        ("run.json", ("splits", "test"), -1),
        ("run.json", ("attacked",), ...),
        ("run.json", ("conditions", 0, "kind"), "tidy"),
        ("run.json", ("input_shape",), [28, 28]),
        ("manifest.json", (1, "rows"), 9.5),
        ("manifest.json", (0, "sha256"), "abc"),
        ("manifest.json", (0, "shard"), "../../c000-s0000"),
        ("facts/policies.json", (0, "policy"), []),
        ("facts/preflight.json", (0, "state"), "fine"),
        ("facts/trials.json", ("findings", 2, "count"), "0"),
        ("facts/near_duplicates.json", ("of",), None),
        ("facts/gallery.json", (1,), 10),
        ("facts/neighbours.json", ("alike",), -1),
        ("facts/suspects.json", (0, "suggestion"), "disc"),
    ],
)
def test_a_file_of_another_shape_is_named_with_the_place(run, name, place, new):
    write_json(run / name, changed(read_json(run / name), place, new))
    with pytest.raises(RunError) as told:
        analyse(run)
    assert str(run / name) in str(told.value)
    assert ".".join(map(str, place)) in str(told.value)


@pytest.mark.parametrize("name", [*REQUIRED, "facts/policies.json", "facts/trials.json"])
@pytest.mark.parametrize("content", ["", "{", "null", "7", '"x"', "[[]]", '{"a": 1}', "[" * 100_000, "\ud800"])
def test_whatever_stands_in_a_file_it_is_named(run, name, content):
    (run / name).write_text(content, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(RunError, match=name.rpartition("/")[2]):
        analyse(run)


def test_a_newer_schema_is_told_as_one(run):
    write_json(run / "run.json", read_json(run / "run.json") | {"schema_version": 2})
    with pytest.raises(RunError, match=r"is of schema 2; this version of demur reads 1 and older"):
        analyse(run)


def test_more_keys_are_allowed(tmp_path):
    write_json(
        tmp_path / "manifest.json", [entry | {"more": {"a": [1]}} for entry in read_json(GOLDEN / "manifest.json")]
    )
    check_shape(tmp_path / "manifest.json", REQUIRED["manifest.json"])


def test_pictures_are_named_by_files_beside_them(tmp_path):
    for name in ("../results.json", "a/b.webp", "/etc/passwd", "x.webp\n"):
        write_json(tmp_path / "o.json", {"gradient": [{"sample_id": "1", "image": name, "overlay": "a-1.webp"}]})
        with pytest.raises(RunError, match=r"gradient\.0\.image"):
            check_shape(tmp_path / "o.json", FACTS["facts/overlays.json"])


def test_records_of_another_condition_or_number_are_named(run):
    """A run of an earlier version has no seal; its manifest is all there is to go by."""
    entries = json.loads((run / "manifest.json").read_text())
    (one, two) = [entry for entry in entries if entry["condition"].startswith("pgd")]
    one["condition"], two["condition"] = two["condition"], one["condition"]
    write_json(run / "manifest.json", entries)
    with pytest.raises(RunError, match=r"c00[12]-s0000\.parquet must have 8 rows of .*, as manifest\.json says"):
        analyse(run)


def test_a_swapped_shard_of_an_earlier_version_is_named(run):
    shutil.copy(run / "records" / "c001-s0000.parquet", run / "records" / "c002-s0000.parquet")
    with pytest.raises(RunError, match=r"c002-s0000\.parquet is not the file that was written"):
        analyse(run)


def test_a_doctored_run_is_checked_like_any_other(folder, tmp_path):
    run = shutil.copytree(folder, tmp_path / "run")
    write_json(run / "facts" / "gallery.json", {})
    with pytest.raises(RunError, match=r"gallery\.json: the whole must be"):
        analyse(tiny.reseal(run))
