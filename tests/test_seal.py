"""Files of run folders that were changed, cut, swapped, gone or foreign: an audit mends them or readers name them.

No edit moves a number in silence. What is tried is drawn by a seed; under `make test-slow` `DEMUR_EDITS`
of them, from the one numbered `DEMUR_FIRST_EDIT`.
"""

import json
import os
import random
import shutil

import pytest

from demur import seal
from demur.analysis import analyse, write_results
from demur.analysis.compare_runs import compare
from demur.errors import DemurError, RunError
from demur.pipeline.plan.plan_tables import AttributionPlan, EpsilonPlan, LipschitzPlan, Signals
from demur.report import write
from tests import every_section, tiny

EDITS, FIRST = int(os.environ.get("DEMUR_EDITS", "300")), int(os.environ.get("DEMUR_FIRST_EDIT", "0"))
SMALL = {
    "conditions": ("clean", "fgsm(eps=0.1)", "gaussian_noise(severity=1)"),
    "policies": ("certified(risk=0.4)", "rule(confidence=0.6)"),
    "signals": Signals(use=("entropy", "doctor(variant='beta')")),
    "attacked": 16,
}


FAMILIES = ("gaussian_noise", "low_light", "gaussian_blur", "contrast")
SECTIONS = {
    "conditions": (*SMALL["conditions"][:2], *(f"{family}(severity=3)" for family in FAMILIES)),
    "epsilon": EpsilonPlan(use=("ray",), images=12, curves=4),
    "attribution": AttributionPlan(maps=("gradient", "grad_cam"), regions=("grad_cam",), images=10),
    "lipschitz": LipschitzPlan(images=2),
}


def small(folder, rows=130, **changes):
    return tiny.run(folder, tiny.source(rows), **(SMALL | changes))


def sections(folder):
    """Every kind of file that a run may have."""
    return every_section.run(folder, every_section.Marked(tiny.source(130)), **(SMALL | SECTIONS))


def worked_out(audit, folder):
    """An audit with its results, as the command makes them."""
    audit(folder)
    write_results(folder, by="audit")
    return folder


def begun(audit, folder, monkeypatch):
    """An audit that was stopped in its last condition."""
    with monkeypatch.context() as patch:
        tiny.interrupt(patch, lambda condition: condition.kind not in {"clean", "attack"})
        with pytest.raises(KeyboardInterrupt):
            audit(folder)
    return folder


def numbers(folder):
    """Everything a report would say."""
    return json.loads(analyse(folder).model_dump_json())


def without_times(found):
    """The same but for when it was measured and how long it took."""
    provenance = found["provenance"] | {"start_time": None, "seconds": None}
    signals = [signal | {"milliseconds": None} for signal in found["signals"]]
    return found | {"provenance": provenance, "signals": signals, "label_access": None}


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def edited(folder, other, rng):
    """Change one file of a folder; what was done, and the names that tell of it."""
    path, kind = rng.choice(files(folder)), rng.choice(("byte", "cut", "swap", "taken", "gone", "foreign"))
    content, name = path.read_bytes(), str(path.relative_to(folder))
    match kind:
        case "byte" if content:
            at = rng.randrange(len(content))
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :])
        case "cut" if content:
            path.write_bytes(content[: rng.randrange(len(content))])
        case "swap":
            second = rng.choice([each for each in files(folder) if each.suffix == path.suffix])
            path.write_bytes(second.read_bytes())
            second.write_bytes(content)
            return kind, {name, str(second.relative_to(folder))}
        case "taken" if (other / name).exists():
            path.write_bytes((other / name).read_bytes())
        case "foreign":
            given = rng.choice(files(other))
            path = folder / given.relative_to(other).with_stem(rng.choice(("lipschitz", "curves", "99", given.stem)))
            path.parent.mkdir(exist_ok=True)
            shutil.copy(given, path)
            return kind, {str(path.relative_to(folder))}
        case _:
            path.unlink()
    return kind, {name}


def tells(error, folder, names):
    return any(str(folder / name) in str(error) for name in names)


def tried(work, folder):
    """What comes of it, or the error it ends with."""
    try:
        return work(folder)
    except DemurError as error:
        return error


def lost_of(folder, finished):
    """What a finished run vouches for and a folder does not, but for what every report works out anew."""
    return {name for name in seal.read_seal(finished) if not seal.is_derived(name)} - seal.read_seal(folder).keys()


def check(audit, state, original, expected, other, rng, copy, finished):
    """One edit of a copy: named, or nothing moved; and after an audit nothing moved, or the audit named it."""
    shutil.copytree(original, copy)
    kind, names = edited(copy, other, rng)
    said = f"{kind} of {sorted(names)} in the {state} run"
    found, pair = tried(numbers, copy), tried(lambda folder: compare([folder, folder]), copy)
    if isinstance(found, DemurError):
        unfinished = state == "begun" and "is not finished" in str(found)
        assert tells(found, copy, names) or unfinished, f"{said}: {found}"
        assert str(pair) == str(found), said
    else:
        assert (state, found) == ("finished", expected), said
    end = tried(lambda folder: worked_out(audit, folder), copy)
    if isinstance(end, DemurError):
        assert tells(end, copy, names) or "belongs to another plan" in str(end), f"{said}: {end}"
        assert isinstance(tried(numbers, copy), DemurError), said
        return "refused"
    assert without_times(numbers(copy)) == without_times(expected), said
    assert seal.harmed(copy) == [], said
    assert lost_of(copy, finished) == set(), said
    shutil.rmtree(copy)
    return "mended"


def check_edits(audit, edits, tmp_path, monkeypatch, at_most):
    """Numbered edits of finished and begun folders in turn; not more than a share end in a refusal."""
    folders = {"finished": worked_out(audit, tmp_path / "runs" / "finished")}
    folders["begun"] = begun(audit, tmp_path / "runs" / "begun", monkeypatch)
    other = worked_out(lambda folder: small(folder, 140, seed=1), tmp_path / "other")
    expected = numbers(folders["finished"])
    ends = []
    for number in edits:
        state = ("finished", "begun")[number % 2]
        rng = random.Random(number)
        ends.append(
            check(
                audit, state, folders[state], expected, other, rng, tmp_path / "runs" / str(number), folders["finished"]
            )
        )
    assert ends.count("refused") <= at_most * len(edits), "an audit mends nearly everything"


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A finished audit with its report."""
    folder = worked_out(small, tmp_path_factory.mktemp("reported") / "runs" / "one")
    write(folder, analyse(folder))
    return folder


@pytest.fixture
def copy(reported, tmp_path):
    shutil.copy(reported.parent / "opened.jsonl", tmp_path)
    return shutil.copytree(reported, tmp_path / "run")


def state_of(folder):
    """Content and time of every file of a run and of the openings beside it."""
    paths = (*files(folder), folder.parent / "opened.jsonl")
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_a_finished_audit_that_is_run_again_changes_no_file_and_no_count(copy):
    before, said = state_of(copy), numbers(copy)
    small(copy)
    results = write_results(copy, by="audit")
    page = write(copy, results)
    assert state_of(copy) == before
    assert json.loads(results.model_dump_json()) == said
    assert page.path == copy / "report.html"
    assert page.words


@pytest.mark.parametrize(
    ("by", "name"),
    [("audit", "results.json"), ("report", "results.json"), ("audit", "report.html"), ("audit", "summary.md")],
)
def test_what_is_worked_out_is_written_anew(copy, by, name):
    before = (copy / name).read_bytes()
    (copy / name).write_bytes(before[:-9])
    known = numbers(copy)["label_access"]["test"]
    if by == "audit":
        small(copy)
    write(copy, write_results(copy, by=by))
    assert seal.harmed(copy) == []
    assert numbers(copy)["label_access"]["test"] == known + (by == "report")
    if by == "audit":
        assert (copy / name).read_bytes() == before


def test_a_changed_report_is_not_shown(copy, monkeypatch):
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    results = analyse(copy)
    results.open()
    (copy / "report.html").write_text("Promise issued")
    with pytest.raises(RunError, match=r"report\.html is not the file that was written .* demur report"):
        results.open()
    assert len(shown) == 1


def test_a_report_is_not_drawn_from_changed_results(copy):
    text = (copy / "results.json").read_text()
    (copy / "results.json").write_text(text.replace('"state": "', '"state":  "'))
    with pytest.raises(RunError, match=r"results\.json is not the file that was written"):
        write(copy)


def test_a_foreign_fact_or_picture_is_not_read(copy):
    before = numbers(copy)
    (copy / "facts" / "lipschitz.json").write_text('{"layers": [], "upper": 0.1}')
    (copy / "thumbs" / "99.webp").write_bytes(b"RIFF")
    assert numbers(copy) == before


def test_a_folder_without_its_seal_is_refused(copy):
    (copy / seal.FILE).unlink()
    with pytest.raises(RunError, match=r"seal\.json is gone"):
        analyse(copy)
    worked_out(small, copy)
    assert seal.harmed(copy) == []


def test_the_seal_of_another_run_is_named_and_replaced(copy, tmp_path):
    expected = numbers(copy)
    other = small(tmp_path / "other", 140, seed=1)
    shutil.copy(other / seal.FILE, copy / seal.FILE)
    with pytest.raises(RunError, match=r"run/seal\.json is not the file that was written"):
        analyse(copy)
    small(copy)
    assert without_times(numbers(copy)) == without_times(expected)


def test_a_journal_keeps_its_whole_lines(copy):
    path = copy / "opened.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0].replace('"certify"', '"test"'), "{\n", *lines[1:]]))
    (copy.parent / "opened.jsonl").unlink()
    with pytest.raises(RunError, match=r"opened\.jsonl is not the file"):
        analyse(copy)
    small(copy)
    assert path.read_text().splitlines(keepends=True) == lines[1:]
    assert "files were changed" in (copy / "log.jsonl").read_text()


def test_a_changed_line_beside_the_runs_is_named(copy):
    beside = copy.parent / "opened.jsonl"
    beside.write_text(beside.read_text().replace('"certify"', '"test"'))
    with pytest.raises(RunError, match=r"opened\.jsonl says how often .* was changed"):
        write_results(copy)


def test_a_seal_fits_before_and_after_a_file_is_replaced(tmp_path, monkeypatch):
    seal.begin(tmp_path)
    seal.replace_sealed(tmp_path, "log.jsonl", b"one")
    replaced, left = os.replace, [0]

    def stopped(*given, **named):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return replaced(*given, **named)

    for writes in range(3):
        left[0] = writes
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stopped)
            with pytest.raises(KeyboardInterrupt):
                seal.replace_sealed(tmp_path, "log.jsonl", b"two")
        assert seal.harmed(tmp_path) == []
    assert (tmp_path / "log.jsonl").read_bytes() == b"two"


def test_an_edited_folder_is_mended_or_named(tmp_path, monkeypatch):
    check_edits(small, range(20), tmp_path, monkeypatch, at_most=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FIRST, FIRST + EDITS, 30))
def test_many_edits_of_every_kind_of_file(tmp_path, monkeypatch, first):
    edits = range(first, min(first + 30, FIRST + EDITS))
    check_edits(sections, edits, tmp_path, monkeypatch, at_most=0.4)


LEFT = (
    "tables/.confusion-pairs.csv.abcd1234",
    ".report.html.abcd1234",
    "figures/.a.svg.abcd1234",
    ".results.json.abcd1234",
)
OTHERS = (
    ".seal.json.abcd1234",
    "records/.c000-s0000.parquet.abcd1234",
    "tables/own.csv",
    "tables/.own",
    "facts/.x.json.abcd1234",
)


def test_what_a_killed_report_left_is_swept_and_nothing_of_an_audit(tmp_path):
    for name in (*LEFT, *OTHERS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    seal.sweep(tmp_path)
    assert [name for name in LEFT if (tmp_path / name).exists()] == []
    assert [name for name in OTHERS if not (tmp_path / name).exists()] == []


def test_nothing_is_swept_where_folders_cannot_be_locked(tmp_path, monkeypatch):
    """Then another report may be writing it."""
    (tmp_path / ".report.html.abcd1234").touch()

    def refused(*_given):
        raise OSError

    monkeypatch.setattr("demur.seal.fcntl.flock", refused)
    seal.sweep(tmp_path)
    assert (tmp_path / ".report.html.abcd1234").exists()


def test_a_report_sweeps(tmp_path):
    folder = tiny.run(tmp_path / "run", conditions=("clean",))
    write_results(folder)
    (folder / LEFT[0]).touch()
    write_results(folder)
    assert not (folder / LEFT[0]).exists()
