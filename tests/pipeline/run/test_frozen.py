"""A frozen folder that was damaged is named, not the parts, with the command that mends it; and that command does."""

import shutil

import pytest
from tests import tiny
from tests.pipeline.run.test_part_run import in_parts, phase

from demur import seal
from demur.errors import RunError
from demur.files import read_json
from demur.pipeline.plan.plan_tables import Signals
from demur.pipeline.run.frozen import frozen_sha256
from demur.pipeline.run.kept_signals import ORIGIN
from demur.pipeline.run.mending import FIXED, POLICIES, TOLERANCES
from demur.pipeline.run.merged_parts import merge_parts
from demur.pipeline.run.part_run import PART, freeze_run
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.run_writer import RunWriter


def others():
    return StandIns(source=tiny.source(rows=3000), classifier=tiny.classifier())


def plan():
    return tiny.plan(conditions=("clean", "fgsm(eps=0.1)"), signals=Signals(use=("msp", "relative_u")))


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """A folder with `run`, frozen and merged of `part1` and `part2`, which has a signal that is fitted."""
    return in_parts(tmp_path_factory.mktemp("merged"), 2, of=plan(), others=others())


@pytest.fixture
def run(merged, tmp_path):
    shutil.copytree(merged.parent, tmp_path / "copy")
    return tmp_path / "copy" / "run"


def parts_of(run):
    return sorted(run.parent.glob("part*"))


def freeze(run):
    return freeze_run(run, tiny.Quiet(), others=others())[1]


def measure_again(run):
    phase(run.parent, 2, frozen=run, of=plan(), others=others())


def damage(path, how):
    path.unlink() if how == "gone" else path.write_text(how)


@pytest.mark.parametrize("how", ["gone", "null"])
@pytest.mark.parametrize("name", [TOLERANCES, ORIGIN, "fitted/signals.json", "fitted/tensors-*"])
@pytest.mark.parametrize("work", ["merge", "part"])
def test_what_is_gone_from_a_frozen_folder_is_named_and_frozen_again_to_the_same(run, name, how, work):
    before = frozen_sha256(run)
    (path,) = run.glob(name)
    damage(path, how)
    said = rf"is not as it was frozen: {path.relative_to(run)} is .*\. It is made anew by: demur freeze .*run$"
    for _ in range(2):  # the first call leaves the folder such that the second says the same
        with pytest.raises(RunError, match=said):
            merge_parts(parts_of(run), run) if work == "merge" else measure_again(run)
    assert freeze(run) == before
    measure_again(run)
    assert merge_parts(parts_of(run), run).whole


def test_signals_are_missed_even_where_the_seal_does_not_say_that_they_were_kept(run):
    before = frozen_sha256(run)
    seal.unseal(run, [ORIGIN])
    damage(run / ORIGIN, "gone")
    for work in (lambda: measure_again(run), lambda: merge_parts(parts_of(run), run)) * 2:
        with pytest.raises(RunError, match=r"fitted/origin\.json is gone\. It is made anew by: demur freeze"):
            work()
    assert freeze(run) == before


@pytest.mark.parametrize("how", ["gone", "null"])
def test_policies_that_are_gone_are_frozen_again_to_the_same(run, how):
    before = frozen_sha256(run)
    damage(run / POLICIES, how)
    with pytest.raises(RunError, match=r"frozen.*facts/policies\.json.*: demur freeze"):
        measure_again(run)
    assert freeze(run) == before


def test_clean_shards_that_are_gone_come_from_the_parts_again(run):
    before = frozen_sha256(run)
    next((run / "records").glob("c000-*")).unlink()
    with pytest.raises(RunError, match=r"it lacks 1 of \d+ clean shards, first c000-s\d+\. Merge the clean parts into"):
        measure_again(run)
    assert merge_parts(parts_of(run), run).whole
    assert frozen_sha256(run) == before


def test_a_seal_that_cannot_be_read_is_mended_by_freezing_once(run):
    before = frozen_sha256(run)
    damage(run / seal.FILE, "{")
    with pytest.raises(RunError, match=r"seal\.json is not the file that was written\. .* demur freeze"):
        measure_again(run)
    assert freeze(run) == before
    assert all(seal.is_intact(run, name) for name in (*FIXED, ORIGIN))


@pytest.mark.parametrize("odd", ["gone", "null", "3", "[3]", '[{"a": 1}]', "{"])
def test_an_odd_manifest_of_a_folder_to_be_frozen_is_no_dead_end(tmp_path, odd):
    parts = [done.folder for done in phase(tmp_path, 2, of=plan(), others=others())]
    run = merge_parts(parts, tmp_path / "run").folder
    damage(run / seal.MANIFEST, odd)
    before = freeze(run)
    damage(run / seal.MANIFEST, odd)
    measure_again(run)
    assert frozen_sha256(run) == before
    assert merge_parts(parts, run).whole


class TestAPartThatLostWhichFreezeItIsOf:
    def test_is_asked_to_run_again(self, run):
        part = parts_of(run)[0]
        (part / PART).unlink()
        fresh = in_parts(run.parent / "fresh", 2, of=plan(), others=others())
        with pytest.raises(
            RunError, match=r"does not say after which freeze .*Run this part again into the same folder"
        ):
            merge_parts([part], fresh)

    def test_measures_its_shards_again_for_the_freeze_that_it_then_is_of(self, run, monkeypatch):
        part = parts_of(run)[0]
        late = {name for name, entry in RunWriter(part).shards().items() if entry["condition"] != "clean"}
        clean = set(RunWriter(part).shards()) - late
        kept = {name: (part / "records" / f"{name}.parquet").stat().st_mtime_ns for name in (*late, *clean)}
        (part / PART).unlink()
        phase(run.parent, 2, of=plan(), others=others(), numbers=[1])  # the first phase does not know of it either
        assert read_json(part / PART)["frozen"] is None
        with pytest.raises(RunError, match="does not say after which freeze"):
            merge_parts([part], run)
        phase(run.parent, 2, frozen=run, of=plan(), others=others(), numbers=[1])
        now = {name: (part / "records" / f"{name}.parquet").stat().st_mtime_ns for name in kept}
        assert {name for name in kept if now[name] != kept[name]} == late
        assert read_json(part / PART)["frozen"] == frozen_sha256(run)
        assert merge_parts(parts_of(run), run).whole
