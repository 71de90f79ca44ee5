"""Files of run folders that were changed, cut, swapped, gone or foreign: an audit mends them or readers name them.

No edit moves a number in silence. What is tried is drawn by a seed; `DEMUR_EDITS` says how many under `make test-slow`.
"""

import json
import os
import random
import shutil

import pytest

from demur import seal
from demur.analysis import analyse, write_results
from demur.analysis.compare_runs import compare
from demur.errors import DemurError
from demur.pipeline.plan.plan_file import AttributionPlan, EpsilonPlan, LipschitzPlan, Signals
from tests import every_section, tiny

EDITS = int(os.environ.get("DEMUR_EDITS", "300"))
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


def check(audit, state, original, expected, other, rng, copy):
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
    shutil.rmtree(copy)
    return "mended"


def check_edits(audit, count, tmp_path, monkeypatch, at_most):
    """Edits of finished and begun folders in turn; not more than a share end in a refusal."""
    folders = {"finished": worked_out(audit, tmp_path / "runs" / "finished")}
    folders["begun"] = begun(audit, tmp_path / "runs" / "begun", monkeypatch)
    other = worked_out(lambda folder: small(folder, 140, seed=1), tmp_path / "other")
    expected, rng = numbers(folders["finished"]), random.Random(0)
    ends = []
    for number in range(count):
        state = ("finished", "begun")[number % 2]
        ends.append(check(audit, state, folders[state], expected, other, rng, tmp_path / "runs" / str(number)))
    assert ends.count("refused") <= at_most * count, "an audit mends nearly everything"


def test_an_edited_folder_is_mended_or_named(tmp_path, monkeypatch):
    check_edits(small, 20, tmp_path, monkeypatch, at_most=0.3)


@pytest.mark.slow
def test_many_edits_of_every_kind_of_file(tmp_path, monkeypatch):
    check_edits(sections, EDITS, tmp_path, monkeypatch, at_most=0.3)
