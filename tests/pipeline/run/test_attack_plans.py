"""Targeted and foreign attacks and a surrogate, from the plan to the records, also when a run is cut short."""

import pytest
from safetensors.torch import save_file
from tests import tiny

from demur.classifier import BoundClassifier
from demur.errors import InputError, ModelError
from demur.files import read_json
from demur.pipeline.plan.conditions import conditions
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.run.loop import run_plan
from demur.records import read

PLAN = (
    "clean",
    "pgd(eps=0.05, steps=4, target='next')",
    "callable(eps=0.05, path='tests.analysis.callable_attacks:ascent')",
    "ensemble(eps=0.05, preset='quick')",
)
BORROWS = ("clean", "pgd(eps=0.05, steps=4)")


class Impatient(tiny.Quiet):
    """Gives up after some pieces of work."""

    def __init__(self, patience):
        self.patience = patience

    def advance(self, rows, what, left=None):
        self.patience -= 1
        if not self.patience:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path):
    whole = tiny.run(tmp_path / "whole", conditions=PLAN)
    for patience in (1, 4, 6):
        folder = tmp_path / f"after {patience}"
        with pytest.raises(KeyboardInterrupt):
            run_plan(tiny.plan(conditions=PLAN), folder, Impatient(patience), tiny.source(), tiny.classifier())
        assert tiny.hashes(folder) != tiny.hashes(whole)
        tiny.run(folder, conditions=PLAN)
        assert tiny.hashes(folder) == tiny.hashes(whole)


def test_the_records_hold_targets_and_crashes(tmp_path):
    folder = tiny.run(tmp_path / "run", conditions=PLAN)
    aimed, lent = read(folder, PLAN[1]), read(folder, PLAN[2])
    assert (aimed["target"] == (aimed["label"] + 1) % 3).all()
    reached = aimed["step"] >= 0
    assert (aimed.filter(reached)["predicted"] == aimed.filter(reached)["target"]).all()
    assert 0 < reached.sum() < 120
    assert (aimed.filter(~reached)["distance.linf"] == 0).all()
    crashed = lent.filter(lent["flags"] & 32 > 0)
    assert set(crashed["crash"]) == {"RuntimeError: too few"}
    assert lent.filter(lent["flags"] & 32 == 0)["crash"].null_count() == 120 - len(crashed)


def test_a_path_that_leads_nowhere_stops_an_audit_before_anything_is_measured(tmp_path):
    for path, words in (("nowhere:at_all", "cannot import 'nowhere'"), ("tests.tiny:plam", "Did you mean 'plan'?")):
        with pytest.raises(InputError) as told:
            tiny.run(tmp_path / "run", conditions=("clean", f"callable(eps=0.1, path='{path}')"))
        assert words in str(told.value)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ("pgd(eps=0.1)", "pgd(eps=0.1, keep='first')"),
        ("fmn", "fmn(keep='nearest')"),
        ("ensemble(eps=0.1)", "ensemble(eps=0.1, keep='nearest')"),
    ],
)
def test_a_default_written_out_is_the_same_condition(plain, written):
    (_, one), (_, other) = (conditions([text], (1, 28, 28)) for text in (plain, written))
    assert one == other
    assert len(conditions([plain, written], (1, 28, 28))) == 2


@pytest.mark.parametrize(
    ("text", "unlimited"),
    [
        ("pgd(eps=0.1)", False),
        ("pgd(eps=0.1, keep='nearest')", False),
        ("fmn", True),
        ("fmn(keep='first')", False),
        ("ensemble(eps=0.1)", True),
        ("ensemble(eps=0.1, curve=false)", False),
        ("spatial", False),
        ("callable(path='a:b')", True),
    ],
)
def test_a_search_without_limit_is_known_as_one(text, unlimited):
    assert conditions([text], (1, 28, 28))[1].unlimited is unlimited


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("callable(path='a:b', norm='none')", "The image changed without limit, searched by a:b"),
        ("callable(path='a:b', norm='l1')", "The smallest L1 change, searched by a:b"),
        ("apgd_t(eps=0.5/255, steps=10, targets=3)", "in 30 gradient steps at most"),
        ("pgd(eps=0.1, keep='nearest')", "searched in 40 gradient steps, nearest point kept"),
        ("pgd(eps=0.1, target='next')", "searched in 40 gradient steps, towards the class after its own"),
    ],
)
def test_what_an_attack_does_is_said_in_words(text, words):
    assert words in conditions([text], (1, 28, 28))[1].sentence


def test_changes_without_a_norm_have_no_nearest():
    with pytest.raises(InputError, match="changes without a norm have no size"):
        conditions(["spatial(keep='nearest')"], (1, 28, 28))


def surrogate(tmp_path, sharpness=4.0):
    """The address of a net of other weights."""
    save_file(tiny.Net(sharpness).state_dict(), tmp_path / "other.safetensors")
    return f"module:tests.tiny:Net@{tmp_path / 'other.safetensors'}"


def test_a_surrogate_of_the_plan_lends_its_points(tmp_path):
    address = surrogate(tmp_path)
    plan = tiny.plan(conditions=BORROWS)
    plan = plan.model_copy(update={"conditions": plan.conditions.model_copy(update={"surrogate": address})})
    folder = run_plan(plan, tmp_path / "run", tiny.Quiet(), tiny.source(), tiny.classifier())
    facts = read_json(folder / "facts" / "trials.json")
    (found,) = (each for each in facts["findings"] if each["name"] == "transfer")
    assert found["count"] == 0
    assert facts["surrogate_sha256"] == tiny.classifier(sharpness=4.0).sha256
    alone = read_json(tiny.run(tmp_path / "alone", conditions=BORROWS) / "facts" / "trials.json")
    assert "transfer" not in {each["name"] for each in alone["findings"]}
    assert alone["forwards"] < facts["forwards"]


def test_the_same_weights_without_the_defence_before_them_are_another_model(tmp_path):
    net = tiny.Net().eval()
    net.register_forward_pre_hook(lambda _, images: ((8 * images[0]).round() / 8,))
    defended = BoundClassifier(net, classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    plan = tiny.plan(conditions=("clean", "pgd(eps=0.2, steps=5)"))
    address = surrogate(tmp_path, sharpness=12.0)
    plan = plan.model_copy(update={"conditions": plan.conditions.model_copy(update={"surrogate": address})})
    facts = read_json(run_plan(plan, tmp_path / "run", tiny.Quiet(), tiny.source(), defended) / "facts" / "trials.json")
    assert facts["surrogate_sha256"] == defended.sha256
    (found,) = (each for each in facts["findings"] if each["name"] == "transfer")
    assert found["count"] > 0


def test_a_plan_without_a_surrogate_has_the_hash_it_always_had():
    assert "surrogate" not in Plan().toml()
    plan = read_plan(None, ["conditions.surrogate=zoo:resnet20@w.safetensors"])
    assert 'surrogate = "zoo:resnet20@w.safetensors"' in plan.toml()


def test_a_surrogate_that_can_lend_nothing_is_refused(tmp_path):
    same, other = surrogate(tmp_path, sharpness=12.0), "module:tests.tiny:Net"
    for conditions_, address, error, words in (
        (BORROWS, same, InputError, "a surrogate must be another model"),
        (("clean", "fmn(steps=3)"), other, InputError, "the plan has none"),
        (BORROWS, f"{other}?classes=a,b,c", InputError, "the same 3 classes"),
        (BORROWS, f"{other}?classes=a,b", ModelError, "classes"),
    ):
        plan = tiny.plan(conditions=conditions_)
        plan = plan.model_copy(update={"conditions": plan.conditions.model_copy(update={"surrogate": address})})
        with pytest.raises(error, match=words):
            run_plan(plan, tmp_path / "run", tiny.Quiet(), tiny.source(), tiny.classifier())
        assert not (tmp_path / "run").exists()
