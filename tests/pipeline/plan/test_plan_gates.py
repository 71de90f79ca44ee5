"""Gates are read with the plan, made canonical with its conditions, and hashed before any label is opened."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny

from demur.errors import InputError, UnknownNameError
from demur.openings import openings
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.plan.resolve import resolve
from demur.registry.gate_rules import gates_sha256

SMALL = {"conditions": ("clean", "low_light(severity=[1, 3])"), "policies": ("certified(risk=0.3)",)}


def resolved(gates, **changes):
    return resolve(tiny.plan(**(SMALL | changes), gates=gates), tiny.source(60)).plan.gates


@given(
    gates=st.dictionaries(
        st.sampled_from(["clean.accuracy", "fgsm(eps=0.1).risk", "signals.msp.auroc", "checks.failed"]),
        st.sampled_from([">= 0.5", "< 1/3", "<= 0"]),
    )
)
def test_a_plan_with_gates_reads_back_from_its_canonical_text(gates, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "gates.toml"
    plan = Plan(gates=gates)
    path.write_text(plan.toml())
    assert read_plan(path) == plan
    assert read_plan(path).sha256 == plan.sha256


def test_unquoted_keys_and_settings_mean_the_same(tmp_path):
    quoted, bare = tmp_path / "quoted.toml", tmp_path / "bare.toml"
    quoted.write_text('[gates]\n"clean.accuracy" = ">= 0.8"\n"signals.msp.auroc" = ">= 0.7"\n')
    bare.write_text('[gates]\nclean.accuracy = ">= 0.8"\nsignals.msp.auroc = ">= 0.7"\n')
    expected = {"clean.accuracy": ">= 0.8", "signals.msp.auroc": ">= 0.7"}
    assert read_plan(quoted).gates == read_plan(bare).gates == expected
    assert read_plan(None, ["gates.clean.accuracy=>= 0.8"]).gates == {"clean.accuracy": ">= 0.8"}
    assert read_plan(None, ['gates."fgsm(eps=0.1).accuracy" = ">= 0.8"']).gates == {"fgsm(eps=0.1).accuracy": ">= 0.8"}


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ({"claen.accuracy": ">= 0.8"}, "Did you mean 'clean'?"),
        ({"gaussian_blur(severity=1).accuracy": ">= 0.8"}, "unknown subject of a gate 'gaussian_blur(severity=1)'"),
        ({"signals.entropi.auroc": ">= 0.8"}, "unknown signal of a gate 'entropi'. Did you mean 'entropy'?"),
        ({"guarante.risk": "<= 0.1"}, "Did you mean 'guarantee'?"),
        ({"clean.accuracy": 0.8}, "plan key 'gates.clean.accuracy'"),
        ({"pgd(.accuracy": ">= 0.8"}, "cannot read the name 'pgd('"),
    ],
)
def test_a_gate_about_nothing_in_the_plan_is_refused_when_it_is_read(gates, words):
    with pytest.raises(InputError) as caught:
        read_plan(None, (), {"conditions.use": ["clean", "low_light(severity=1)"], "gates": gates})
    assert words in str(caught.value)


def test_without_conditions_a_plan_may_ask_about_any():
    assert read_plan(None, (), {"gates": {"gaussian_blur(severity=1).accuracy": ">= 0.8"}}).gates


def test_gates_get_the_canonical_names_of_conditions_and_signals():
    found = resolved(
        {
            "low_light(severity=1).accuracy": ">=0.50",
            "signals.energy(temperature=1).auroc": "> 1/2",
            "checks.failed": "<= 0",
        }
    )
    assert found == {
        "low_light(severity=1).accuracy": ">= 0.5",
        "signals.energy.auroc": "> 0.5",
        "checks.failed": "<= 0",
    }


@pytest.mark.parametrize("subject", ["low_light", "low_light(severity=[1, 3])"])
def test_a_family_is_one_gate_for_each_of_its_conditions(subject):
    expected = {f"low_light(severity={k}).accuracy": ">= 0.5" for k in (1, 3)}
    found = resolved({f"{subject}.accuracy": ">= 0.5"})
    assert found == expected
    assert resolved(found) == expected


def test_a_gate_about_a_condition_the_plan_has_not_is_refused_before_measuring():
    with pytest.raises(UnknownNameError, match=r"condition 'low_light\(severity=2\)', which the plan has not. Did you"):
        resolved({"low_light(severity=2).accuracy": ">= 0.5"})
    with pytest.raises(UnknownNameError, match=r"add it to signals\.use"):
        resolved({"signals.energy(temperature=3).auroc": ">= 0.5"})


def test_a_gate_changes_the_hash_of_the_plan():
    plans = [Plan(), Plan(gates={"clean.accuracy": ">= 0.5"}), Plan(gates={"clean.accuracy": ">= 0.6"})]
    assert len({plan.sha256 for plan in plans}) == len({plan.gates_sha256 for plan in plans}) == 3


def test_the_purpose_the_report_lists_is_that_of_the_plan():
    from demur.pipeline.plan.plan_tables import Purpose
    from demur.report.acceptance_lines import PURPOSE

    assert (*PURPOSE, "images_per_day", "demonstration") == tuple(Purpose.model_fields), "these two are not texts"


def test_plan_and_gates_are_on_disk_before_certify_labels_are_opened(tmp_path, monkeypatch):
    from demur.pipeline.run import loop

    seen = {}

    def look(*arguments):
        folder = tmp_path / "run"
        seen.update(json.loads((folder / "run.json").read_text()))
        seen["gates"] = tomllib.loads((folder / "plan.toml").read_text())["gates"]
        seen["openings"] = openings(folder)
        return fit(*arguments)

    fit = loop.fit_policies
    monkeypatch.setattr(loop, "fit_policies", look)
    folder = tiny.run(tmp_path / "run", **SMALL, gates={"clean.accuracy": ">= 0.5"})
    assert seen["gates"] == {"clean.accuracy": ">= 0.5"}
    assert seen["gates_sha256"] == gates_sha256(seen["gates"])
    assert [entry["split"] for entry in seen["openings"]] == ["certify"]
    assert json.loads((folder / "run.json").read_text())["gates_sha256"] == seen["gates_sha256"]
