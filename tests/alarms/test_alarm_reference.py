"""What alarms are held against, read off the folder of a guard: the same numbers as its certificate's."""

import json
import shutil

import numpy as np
import pytest
from tests import guarded

from demur.alarms import reference_of
from demur.errors import InputError
from demur.guard.guard_folder import read_built_on, read_guard


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guards") / "guard"
    guarded.written(folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "guard")


def changed(folder, change):
    content = json.loads((folder / "guard.json").read_text())
    change(content)
    (folder / "guard.json").write_text(json.dumps(content))
    return folder


def test_it_is_the_count_behind_the_bound_on_coverage_and_the_tune_scores(folder):
    found, bound = reference_of(folder), read_guard(folder).policy.certificate.coverage
    assert (found.images, found.images - found.abstained, found.several) == (bound.n, bound.answered, bound.several)
    assert (found.rows, found.unit, found.signal, found.risk) == ("certify", "image", "msp", 0.1)
    assert found.several > 1
    assert found.classes == ("disc", "bar", "cross")
    np.testing.assert_array_equal(found.scores, read_built_on(folder).scores["msp"])
    assert f"which chose among {bound.several} thresholds" in found.sentence


def test_untouched_rows_choose_nothing(folder):
    def untouched(content):
        content["policy"]["certificate"]["coverage"].update(rows="test", several=1, n=500, answered=400)

    found = reference_of(changed(folder, untouched))
    assert (found.images, found.abstained, found.rows, found.several) == (500, 100, "test", 1)
    assert found.sentence == "Of 500 test images, which chose nothing, 100 went to a person (20.0 in 100)."


def test_a_guarantee_by_class_allows_more_of_what_is_answered(folder):
    def by_class(content):
        made = content["policy"]["certificate"]
        names = ("threshold", "risk", "delta", "level", "near", "tolerance", "unit", "grid", "tests", "procedure",
                 "look", "coverage")  # fmt: skip
        own = {"name": "disc", "risk": 0.1, "n": 300, "answered": 200, "wrong": 5, "bound": 0.09}
        kept = {name: made[name] for name in names}
        content["policy"] = {"policy": "certified_by_class", "signal": "msp", "certificate": {**kept, "classes": [own]}}

    found = reference_of(changed(folder, by_class))
    low = json.loads((folder / "guard.json").read_text())["policy"]["certificate"]["coverage"]["low"]
    assert found.risk == pytest.approx(0.1 / low)


def test_thresholds_by_site_are_counted_together(folder):
    def by_site(content):
        made = content["policy"]["certificate"]
        sites = []
        for name, n in (("north", 300), ("south", 200)):
            coverage = {**made["coverage"], "rows": "test", "several": 1, "n": n, "answered": n - 40}
            sites.append({"site": name, "certificate": {**made, "coverage": coverage}})
        whole = {"column": "site", "risk": 0.1, "delta": 0.05, "sites": sites, "refused": {}}
        content["policy"] = {"policy": "certified_by_site", "signal": "msp", "certificate": whole}

    found = reference_of(changed(folder, by_site))
    assert (found.images, found.abstained, found.rows) == (500, 80, "test")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "guard.json").unlink(),
        lambda folder: (folder / "guard.json").write_text("[1]"),
        lambda folder: (folder / "guard.json").write_text('{"format": "demur guard", "card": 3}'),
        lambda folder: (folder / "guard.json").write_bytes(b"\xff"),
        lambda folder: changed(folder, lambda content: content["policy"].pop("certificate")),
        lambda folder: changed(folder, lambda content: content.update(policy={"policy": "threshold"})),
        lambda folder: changed(folder, lambda content: content["policy"].update(signal="energy")),
        lambda folder: (folder / "built_on.safetensors").write_bytes(b"1234"),
        lambda folder: (folder / "built_on.safetensors").write_bytes(b"\x02" + bytes(7) + b"[]"),
        lambda folder: (folder / "built_on.safetensors").unlink(),
    ],
)  # fmt: skip
def test_what_is_no_guard_is_refused(folder, spoil):
    spoil(folder)
    with pytest.raises(InputError):
        reference_of(folder)
