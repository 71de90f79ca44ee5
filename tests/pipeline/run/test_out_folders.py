"""What is no folder of the kind that is meant is left as it was; what a killed start leaves is taken."""

import shutil

import pytest
from tests import tiny

from demur.errors import InputError, RunError
from demur.pipeline.run.merged_parts import merge_parts
from demur.pipeline.run.out_folders import refuse_others
from demur.pipeline.run.part_run import PART, Part, freeze_run, measure_part
from demur.pipeline.run.prepare import StandIns

OTHERS = StandIns(source=tiny.source(), classifier=tiny.classifier())


def measured(out, number=1):
    part = Part(number=number, count=2)
    return measure_part(tiny.plan(), part, out, tiny.Quiet(), others=OTHERS).folder


def audited(out):
    return tiny.run(out, OTHERS.source, OTHERS.classifier)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("parts") / "1")


@pytest.fixture
def images(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "1.png").write_bytes(b"png")
    return tmp_path / "images"


@pytest.mark.parametrize("doing", ["audit", "part", "merge"])
def test_a_folder_of_something_else_is_refused_and_left_alone(doing, images, part):
    before = files(images)
    with pytest.raises(InputError, match=r"images is no run folder, and holds cat, dog, .* a new one with --out"):
        {"audit": audited, "part": measured, "merge": lambda out: merge_parts([part], out)}[doing](images)
    assert files(images) == before
    assert sorted(each.name for each in images.iterdir()) == ["cat", "dog"]


def test_a_plan_of_the_user_makes_no_run_folder(tmp_path):
    (tmp_path / "plan.toml").write_text("seed = 1\n")
    with pytest.raises(InputError, match=r"holds plan\.toml"):
        audited(tmp_path)
    assert (tmp_path / "plan.toml").read_text() == "seed = 1\n"


@pytest.mark.parametrize(
    "left", [(), ("lock",), ("lock", "at.json", "crash.txt", "log.jsonl", ".nfs0001"), ("seal.json", "x")]
)
def test_what_a_killed_start_leaves_is_taken(left, tmp_path):
    for name in left:
        (tmp_path / name).touch()
    (tmp_path / "facts").mkdir()
    refuse_others(tmp_path)
    refuse_others(tmp_path / "new")


def test_a_part_does_not_become_the_run(part):
    before = files(part)
    for doing in (
        lambda: merge_parts([part], part),
        lambda: freeze_run(part, tiny.Quiet(), others=OTHERS),
        lambda: audited(part),
    ):
        with pytest.raises(RunError, match=r"is part 1/2 of an audit, .* would make it the run\. Choose another"):
            doing()
    assert files(part) == before


def test_a_run_does_not_become_a_part(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    before = files(run)
    with pytest.raises(RunError, match=r"is a run that is frozen or finished, and --shard would make it a part"):
        measured(run)
    assert files(run) == before
    assert not (run / PART).exists()
    out = merge_parts([run], tmp_path / "out").folder
    freeze_run(out, tiny.Quiet(), others=OTHERS)
    with pytest.raises(RunError, match="is a run, and no part of one"):
        merge_parts([run], out)


def test_a_training_is_named(tmp_path):
    (tmp_path / "training.json").touch()
    with pytest.raises(RunError, match="belongs to a training"):
        audited(tmp_path)
