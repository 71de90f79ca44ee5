"""Short names of conditions: what papers write, the size once, every field that is not its default."""

import pytest

from demur.pipeline.plan.condition_titles import title_facts
from demur.pipeline.plan.conditions import CLEAN, UNKNOWN, conditions, default_conditions
from demur.pipeline.plan.plan_tables import AttributionPlan
from demur.pipeline.plan.sections import occlusion_conditions, region_conditions, search_conditions

COLOUR, GREY = (3, 32, 32), (1, 28, 28)


def named(text, shape=COLOUR):
    return title_facts(conditions([text], shape)[-1])


@pytest.mark.parametrize(
    ("text", "title", "heading", "level"),
    [
        ("fgsm(eps=8/255)", "FGSM, eps 8/255 (3.1 %)", "FGSM", "eps 8/255 (3.1 %)"),
        ("fgsm(eps=0.5/255)", "FGSM, eps 0.5/255 (0.2 %)", "FGSM", "eps 0.5/255 (0.2 %)"),
        ("fgsm(eps=0.05)", "FGSM, eps 0.05 (5 %)", "FGSM", "eps 0.05 (5 %)"),
        ("apgd_t(eps=0.3)", "APGD-T, eps 0.3 (30 %)", "APGD-T", "eps 0.3 (30 %)"),
        ("pgd(eps=0.5, norm='l2')", "PGD L2, eps 0.5", "PGD L2", "eps 0.5"),
        (
            "pgd(eps=0.05, keep='worst', restarts=3, steps=20)",
            "PGD, eps 0.05 (5 %), worst point, 3 restarts, 20 steps",
            "PGD",
            "eps 0.05 (5 %)",
        ),
        ("pgd(eps=0.05, target='least_likely')", "PGD, eps 0.05 (5 %), towards least likely", "PGD", "eps 0.05 (5 %)"),
        ("pgd(eps=0.05, step=1/300)", "PGD, eps 0.05 (5 %), step 0.00333333", "PGD", "eps 0.05 (5 %)"),
        ("square(eps=0.05)", "Square, eps 0.05 (5 %)", "Square", "eps 0.05 (5 %)"),
        ("hopskipjump(norm='l2')", "Hopskipjump L2, minimal points", "Hopskipjump L2", None),
        ("fmn(steps=10)", "FMN, 10 steps, minimal points", "FMN", None),
        ("spatial(steps=3)", "Spatial, 3 steps", "Spatial", None),
        ("gaussian_noise(severity=3)", "Gaussian noise, severity 3", "Gaussian noise", "severity 3"),
        ("rotation(value=12)", "Rotation 12", "Rotation 12", None),
    ],
)
def test_a_title_says_all_and_its_parts_one_thing_each(text, title, heading, level):
    facts = named(text)
    assert (facts["title"], facts["heading"], facts["level"]) == (title, heading, level)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("ensemble(eps=0.05)", "Ensemble, minimal points"),
        ("ensemble(curve=false, eps=0.3)", "Ensemble, no curve, nearest points found"),
        ("fmn(norm='l2')", "FMN L2, minimal points"),
        ("pgd(eps=0.05, keep='worst')", None),
        ("fgsm(eps=0.05)", None),
        ("gaussian_noise(severity=3)", None),
    ],
)
def test_points_that_are_not_of_the_size_an_attack_is_judged_at_have_a_name_without_it(text, points):
    assert named(text)["points"] == points


@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_no_two_conditions_of_a_plan_are_called_alike(shape):
    found = conditions(default_conditions(shape), shape)
    assert len({title_facts(condition)["title"] for condition in found}) == len(found) > 15


def test_sections_and_images_that_are_no_condition_have_names_too():
    plan = AttributionPlan(maps=("grad_cam",), regions=("grad_cam", "centred"), occlude=("blur",))
    found = [CLEAN, UNKNOWN, *search_conditions(["ray"], GREY), *region_conditions(plan), *occlusion_conditions(plan)]
    titles = [title_facts(condition)["title"] for condition in found]
    assert titles[:3] == ["Clean images", "Images of none of the classes", "Ray"]
    assert "Ray L2, object by grad cam" in titles
    assert "Background occluded, blur background by a blob in the middle" in titles
    assert len(set(titles)) == len(titles)
