"""The usual plan of a large model is small enough, of a small one whole, and of neither does a clock decide."""

import pytest
import torch

from demur.data import from_tensors
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.plan.sizing import BUDGET, LARGE, Effort
from demur.registry import build
from demur.signals import needs_of

LITE = 385_187_552


@pytest.fixture(scope="module")
def source():
    """200 images; their size does not matter, for multiply-adds are told."""
    return from_tensors(torch.rand(200, 3, 40, 40), torch.arange(200) % 2, classes=("cat", "dog"))


def names(setup):
    return {condition.family for condition in setup.conditions}


@pytest.mark.parametrize("multiply_adds", [0, 5_762_880, LARGE - 1])
def test_the_usual_plan_of_a_small_model_is_whole(source, multiply_adds):
    found = resolve(Plan(), source, multiply_adds=multiply_adds)
    assert found.sizing is None
    assert found.plan.sha256 == resolve(Plan(), source).plan.sha256
    assert {"ensemble", "ray", "grad_cam", "occlude"} <= names(found)


def test_what_is_left_of_a_large_one_costs_no_more_than_the_budget(source):
    found = resolve(Plan(), source, multiply_adds=LITE)
    effort = Effort(multiply_adds=LITE, rows=200)
    assert effort.of(found.plan, found.conditions) <= BUDGET < found.sizing.usual
    assert names(found) == {"clean", "fgsm", "pgd", "gaussian_noise", "gaussian_blur", "low_light"}
    assert found.plan.conditions.attacked == 24
    assert found.sizing.left_out[-1] == "corruptions at severities 2 and 4"
    attacks = [text for text in found.sizing.left_out if "attacks on" in text]
    assert attacks == ["attacks on the guard", "attacks on more than 24 images"]
    assert found.plan.guard_attack.images == 0
    assert all(text in found.sizing.sentence for text in (*found.sizing.left_out, "385,187,552"))


def test_the_written_plan_measures_the_same_again(source):
    found = resolve(Plan(), source, multiply_adds=LITE)
    again = resolve(found.plan, source, multiply_adds=LITE)
    assert (again.plan.sha256, again.sizing) == (found.plan.sha256, None)
    assert again.conditions == found.conditions


def test_more_multiply_adds_or_rows_leave_no_more_behind(source):
    costs = [resolve(Plan(), source, multiply_adds=m) for m in (LARGE, 2 * LARGE, 8 * LARGE, 64 * LARGE)]
    kept = [len(each.conditions) for each in costs]
    assert kept == sorted(kept, reverse=True)
    attacked = [each.plan.conditions.attacked for each in costs]
    assert attacked == sorted(attacked, reverse=True)
    few = resolve(read_plan(None, ["data.limit=40"]), source, multiply_adds=LITE)
    assert len(few.conditions) >= len(resolve(Plan(), source, multiply_adds=LITE).conditions)


def test_the_smallest_plan_has_each_kind_of_condition(source):
    found = resolve(Plan(), source, multiply_adds=10**12)
    assert names(found) == {"clean", "fgsm", "pgd", "gaussian_noise", "gaussian_blur", "low_light"}
    assert {condition.severity for condition in found.conditions if condition.kind == "corruption"} == {3.0}


@pytest.mark.parametrize(
    ("setting", "check"),
    [
        ("conditions.attacked=100", lambda plan: plan.conditions.attacked == 100),
        ('epsilon.use=["ray"]', lambda plan: plan.epsilon.use == ("ray",)),
        ("epsilon.images=180", lambda plan: plan.epsilon.images == 180),
        ("attribution.images=150", lambda plan: plan.attribution.images == 150),
        ('attribution.maps=["gradient"]', lambda plan: plan.attribution.maps == ("gradient",)),
        ('attribution.regions=["centred"]', lambda plan: plan.attribution.regions == ("centred",)),
        ("lipschitz.images=30", lambda plan: plan.lipschitz.images == 30),
        ("guard_attack.images=12", lambda plan: plan.guard_attack.images == 12),
        ("proof.images=30", lambda plan: plan.proof.images == 30),
    ],
)
def test_what_a_plan_says_itself_stays(source, setting, check):
    assert check(resolve(read_plan(None, [setting]), source, multiply_adds=LITE).plan)


def test_a_plan_that_names_conditions_is_measured_whole(source):
    plan = read_plan(None, ['conditions.use=["ensemble(eps=2/255)"]'])
    found = resolve(plan, source, multiply_adds=64 * LARGE)
    assert found.sizing is None
    assert "ensemble" in names(found)


def test_what_a_gate_is_about_is_measured(source):
    plan = read_plan(None, ['gates."ensemble(eps=2/255).accuracy"=">= 0.1"'])
    assert "ensemble" in names(resolve(plan, source, multiply_adds=LITE))


def test_the_guard_is_attacked_where_something_is_certified(source):
    """200 images of the usual plan; none where a plan names conditions or certifies nothing, and fewer for passes."""
    assert resolve(Plan(), source).plan.guard_attack.images == 200
    assert resolve(read_plan(None, ["conditions.attacked=7"]), source).plan.guard_attack.images == 7
    for settings in (['conditions.use=["clean"]'], ['policies.use=["rule"]']):
        assert resolve(read_plan(None, settings), source).plan.guard_attack.images == 0
    assert resolve(Plan(), source, gradients=False).plan.guard_attack.images == 0


@pytest.mark.parametrize(
    ("settings", "images"),
    [
        (['signals.use=["mc_dropout(n=2)"]'], 67),  # 200 / (1 + two passes)
        (['signals.use=["mc_dropout(n=2)"]', "signals.certify=msp"], 200),
        (['signals.use=["mc_dropout(n=2)"]', "signals.certify=mc_dropout(n=2)"], 67),
        (['signals.use=["tta", "label_change_rate"]'], 50),
        (['signals.use=["tta", "label_change_rate"]', "signals.certify=entropy"], 200),
        (["signals.certify=msp", 'policies.use=["certified(risk=0.1, second=tta, budget=0.05)"]'], 50),
        (['signals.use=["tta"]', "conditions.attacked=7"], 7),
    ],
)
def test_only_signals_that_the_guard_may_have_make_its_attacks_fewer(source, settings, images):
    """One that it cannot have costs its attackers nothing, and the dearest leaves enough images to tell of a share."""
    assert resolve(read_plan(None, settings), source).plan.guard_attack.images == images


def test_only_signals_that_the_guard_may_have_count_in_the_cost_of_its_attacks(source):
    def cost(*settings):
        found = resolve(read_plan(None, [*settings, "guard_attack.images=100"]), source, multiply_adds=LITE)
        return found.sizing.usual

    others = 'signals.use=["label_change_rate"]'
    chosen, named = cost(others), cost(others, "signals.certify=msp")
    assert chosen - named == LITE * 100 * (80 + 30 * 20) * needs_of(build("signal", "label_change_rate")).passes


def test_attacks_on_the_guard_are_counted(source):
    def cost(**changes):
        plan = resolve(read_plan(None, (), {f"guard_attack.{key}": value for key, value in changes.items()}), source)
        return Effort(multiply_adds=1, rows=200).of(plan.plan, plan.conditions)

    none, once = cost(images=0), cost(images=10)
    assert once > none
    assert once - none == 10 * (80 + 30 * 20)
    assert cost(images=10, steps=40) - once == 10 * 30 * 20
    assert cost(images=10, restarts=3) - once == 2 * 10 * 30 * 20
    assert cost(images=10, eps=[0.1, 0.2]) - none == 2 * (once - none)


def test_every_draw_of_noise_is_a_pass_of_an_image_that_is_attacked(source):
    found, effort = resolve(Plan(), source), Effort(multiply_adds=7, rows=10_000)
    plain = effort.of(found.plan, found.conditions)
    for images, attacked in ((30, 30), (10**6, 1000)):
        plan = read_plan(None, [f"smoothing.images={images}", "smoothing.selection=10", "smoothing.samples=300"])
        smoothed = found.plan.model_copy(update={"smoothing": plan.smoothing})
        assert effort.of(smoothed, found.conditions) - plain == 7 * attacked * 310


def test_proofs_are_counted_at_every_size_and_halving_and_left_out_with_norms(source):
    found, effort = resolve(Plan(), source), Effort(multiply_adds=7, rows=10_000)
    assert found.plan.proof.images == 200
    without = found.plan.model_copy(update={"proof": found.plan.proof.model_copy(update={"images": 0})})
    cost = effort.of(found.plan, found.conditions) - effort.of(without, found.conditions)
    assert cost == 7 * 200 * 2 * (5 + 1 + 12)  # bounds of two passes, at five sizes, and while the largest is halved
    named = found.plan.model_copy(
        update={"proof": found.plan.proof.model_copy(update={"eps": (0.1,), "images": 10**6})}
    )
    assert effort.of(named, found.conditions) - effort.of(without, found.conditions) == 7 * 4000 * 2 * (1 + 1 + 12)
    assert "proofs" in resolve(Plan(), source, multiply_adds=10**9).sizing.left_out
    assert resolve(read_plan(None, ['conditions.use=["clean"]']), source).plan.proof.images == 0
    assert resolve(Plan(), source, gradients=False).plan.proof.images == 0
