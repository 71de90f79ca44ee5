"""How far and where, in an audit: which images, which columns, what is refused, what is left out."""

import dataclasses
import json
from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch
from tests import every_section, tiny

from demur.attacks.core.objective import Objective
from demur.attacks.ray import Ray, run_ray
from demur.attribution.compactness import compactness
from demur.attribution.grad_cam import GradCAM
from demur.attribution.occlusion import OccludedBy, enlarge, has_both_parts, object_mask, occlude, weights
from demur.data import build_index
from demur.errors import InputError, ModelError, UnknownNameError
from demur.files import read_json
from demur.pipeline.drawn_rows import attacked_rows, section_rows
from demur.pipeline.plan.plan_file import OCCLUSIONS, Plan, read_plan
from demur.pipeline.plan.plan_tables import AttributionPlan, EpsilonPlan
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.plan.sections import occlusion_conditions
from demur.randomness import Keys
from demur.records import read

RAY = "ray"
OBJECT = "ray(norm='l2', part='object', region='grad_cam')"
MARKED = "ray(norm='l2', part='background', region='marked')"
HIDE = "occlude(by='mean', part='object', region='grad_cam')"


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """The folder of an audit with every section; not to be written into."""
    return every_section.run(tmp_path_factory.mktemp("sections") / "run")


def images(rows):
    at = rows["sample_id"].cast(pl.Int64).to_list()
    x, y = tiny.images_and_labels()
    return x[at], y[at]


def keys(rows, name):
    return Keys.of(0, rows["sample_id"].to_list(), name)


def answers(x):
    with torch.no_grad():
        return every_section.classifier().logits(x)


def test_searched_images_are_the_attacked_ones_and_then_others_of_any_split():
    index = build_index(tiny.source())
    attacked = set(attacked_rows(index, 100).tolist())
    few, more, all_ = (set(section_rows(index, 100, count).tolist()) for count in (40, 250, 10**6))
    assert few < attacked < more < all_ == set(range(tiny.ROWS))
    assert len(few) == 40
    others = sorted(all_ - attacked, key=lambda row: index.contents[row])
    assert more == attacked | set(others[:150])
    assert {index.splits[row] for row in more} == {"tune", "certify", "test"}


def test_unreadable_images_are_not_searched():
    index = build_index(tiny.Broken(tiny.source(), [3, 9]))
    assert not {3, 9} & set(section_rows(index, 100, 10**6).tolist())


def test_every_section_has_as_many_rows_as_the_plan_says(looked):
    facts = read_json(looked / "run.json")
    rows = {entry["name"]: len(read(looked, entry["name"])) for entry in facts["conditions"]}
    assert rows == {entry["name"]: entry["rows"] for entry in facts["conditions"]}
    kinds = {entry["name"]: entry["kind"] for entry in facts["conditions"]}
    assert {rows[name] for name, kind in kinds.items() if kind in {"map", "intervention"}} == {90}
    assert {name: rows[name] for name in (RAY, "fmn(norm='l2', steps=10)")} == {
        RAY: 150,
        "fmn(norm='l2', steps=10)": 150,
    }
    assert [name for name, kind in kinds.items() if kind == "map"] == ["grad_cam", "gradient"]
    signals = pl.concat([read(looked, name) for name, kind in kinds.items() if kind == "epsilon"], how="diagonal")
    assert not [name for name in signals.columns if name.startswith("signal.")]


def test_a_search_records_what_the_ray_finds(looked):
    rows = read(looked, RAY)
    x, y = images(rows)
    found = run_ray(Ray(), Objective(every_section.classifier(), "cross_entropy"), x, y, keys(rows, RAY), batch=64)
    expected = [
        value if ok else None for value, ok in zip(found.outcome.linf.tolist(), found.outcome.fooled, strict=True)
    ]
    assert rows["epsilon.minimal"].to_list() == expected
    np.testing.assert_array_equal(rows["epsilon.censored"].to_numpy(), ~found.outcome.fooled.numpy())
    np.testing.assert_array_equal(rows["spent.scan"].to_numpy(), found.scan)
    np.testing.assert_array_equal(rows["spent.refine"].to_numpy(), found.refine)
    np.testing.assert_array_equal(rows["forwards"].to_numpy(), found.outcome.forwards)


def test_a_search_on_the_object_follows_the_map_of_the_answer(looked):
    rows = read(looked, OBJECT)
    x, y = images(rows)
    model = every_section.classifier()
    heat = torch.cat(
        [
            GradCAM()(model, part, answers(part).argmax(dim=1), keys(rows, "grad_cam").rows(range(len(part))))
            for part in x.split(64)
        ]
    )
    large = enlarge(heat, (8, 8))
    weight = weights(large, "object")
    found = run_ray(
        Ray(norm="l2"), Objective(model, "cross_entropy"), x, y, keys(rows, OBJECT), batch=64, weights=weight
    )
    flipped = (found.outcome.fooled & has_both_parts(large)).numpy()
    np.testing.assert_array_equal(rows["epsilon.minimal"].is_not_null().to_numpy(), flipped)
    np.testing.assert_allclose(
        rows["epsilon.minimal"].to_numpy()[flipped], found.outcome.l2.numpy()[flipped], atol=2e-5
    )
    assert flipped.mean() > 0.5


def test_a_search_off_a_mark_changes_nothing_inside_it(looked):
    rows = read(looked, MARKED)
    x, y = images(rows)
    masks = torch.stack([every_section.mask(int(sample)) for sample in rows["sample_id"]])
    known = masks.flatten(1).any(dim=1).numpy()
    assert 0 < known.sum() < len(known)
    found = run_ray(
        Ray(norm="l2"),
        Objective(every_section.classifier(), "cross_entropy"),
        x,
        y,
        keys(rows, MARKED),
        batch=64,
        weights=weights(masks.float(), "background"),
    )
    assert not (found.outcome.x - x).masked_select(masks[:, None] & torch.from_numpy(known)[:, None, None, None]).any()
    measured = rows["epsilon.minimal"].is_not_null().to_numpy()
    np.testing.assert_array_equal(measured, found.outcome.fooled.numpy() & known)
    assert rows.filter(~pl.Series(known))["epsilon.censored"].null_count() == (~known).sum()


def test_a_blob_in_the_middle_is_measured_like_an_object(looked):
    rows = read(looked, "ray(norm='l2', part='object', region='centred')")
    x, y = images(rows)
    bell = torch.exp(-0.5 * ((torch.arange(8, dtype=torch.float64) - 3.5) / 2) ** 2)
    weight = weights((bell[:, None] * bell).expand(len(x), 8, 8).float(), "object")
    found = run_ray(
        Ray(norm="l2"),
        Objective(every_section.classifier(), "cross_entropy"),
        x,
        y,
        keys(rows, ""),
        batch=64,
        weights=weight,
    ).outcome
    np.testing.assert_allclose(
        rows["epsilon.minimal"].to_numpy()[found.fooled], found.l2.numpy()[found.fooled], atol=2e-5
    )


def test_maps_record_their_measures_and_agree_with_the_first(looked):
    first, second = read(looked, "grad_cam"), read(looked, "gradient")
    x, _ = images(first)
    heat = GradCAM()(every_section.classifier(), x, answers(x).argmax(dim=1), keys(first, "grad_cam"))
    for name, values in compactness(heat).items():
        np.testing.assert_allclose(first[f"explain.{name}"].cast(pl.Float64).fill_null(np.nan), values, atol=1e-5)
    assert not [name for name in first.columns if "agreement" in name]
    assert second["explain.agreement.grad_cam"].is_between(-1, 1).all()
    marked = np.array([every_section.mask(int(sample)).any().item() for sample in first["sample_id"]])
    np.testing.assert_array_equal(
        first["explain.energy"].is_not_null().to_numpy(), marked & (first["explain.empty"] == 0).to_numpy()
    )


def test_hiding_records_how_far_the_clean_answer_falls(looked):
    rows = read(looked, HIDE)
    x, _ = images(rows)
    model, clean = every_section.classifier(), answers(x)
    mask = object_mask(enlarge(GradCAM()(model, x, clean.argmax(dim=1), keys(rows, "grad_cam")), (8, 8)))
    known = has_both_parts(mask).numpy()
    assert 0 < known.sum() < len(known)
    after = answers(occlude(x, mask, "object", "mean"))
    at = clean.argmax(dim=1, keepdim=True)
    fall = (clean.softmax(dim=1) - after.softmax(dim=1)).gather(1, at)[:, 0]
    np.testing.assert_allclose(rows["explain.fall"].to_numpy()[known], fall[known], atol=1e-5)
    np.testing.assert_array_equal(rows["predicted"].to_numpy()[known], after.argmax(dim=1)[known])
    np.testing.assert_array_equal(rows["explain.fall"].is_not_null().to_numpy(), known)


def test_every_way_to_hide_can_be_planned():
    assert get_args(OccludedBy) == OCCLUSIONS
    assert {
        each.by for each in occlusion_conditions(AttributionPlan(regions=("grad_cam",), occlude=OCCLUSIONS))
    } == set(OCCLUSIONS)


def test_facts_beside_the_rows(looked):
    curves, sanity, overlays, norms = (
        read_json(looked / "facts" / f"{name}.json") for name in ("curves", "sanity", "overlays", "lipschitz")
    )
    assert [entry["condition"] for entry in curves] == [RAY]
    assert np.shape(curves[0]["confidence"]) == (12, len(curves[0]["eps"]))
    assert (curves[0]["eps"][0], curves[0]["eps"][-1]) == (0, pytest.approx(1))
    assert [entry["map"] for entry in sanity] == ["grad_cam", "gradient"]
    assert len(norms["lower"]) == 6
    files = {path.name for path in (looked / "thumbs").iterdir() if not path.name.startswith("sheet-")}
    assert all(entry["image"] in files and entry["overlay"] in files for found in overlays.values() for entry in found)
    assert all(len((looked / "thumbs" / name).read_bytes()) <= 6_000 for name in files)


def test_a_plan_without_conditions_has_the_usual_sections():
    found = resolve(Plan(), tiny.source()).plan
    assert found.epsilon.use == ("ray",)
    assert (found.attribution.maps, found.attribution.regions) == (("grad_cam", "gradient"), ("grad_cam", "centred"))
    assert (found.attribution.occlude, found.lipschitz.images) == (("blur", "mean"), 64)
    assert resolve(Plan(), every_section.source()).plan.attribution.regions == ("grad_cam", "marked", "centred")
    assert resolve(found, tiny.source()).plan == found


def test_a_plan_with_conditions_has_the_sections_it_names():
    found = resolve(tiny.plan(), tiny.source()).plan
    assert (found.epsilon.use, found.attribution.maps, found.attribution.regions, found.attribution.occlude) == (
        (),
        (),
        (),
        (),
    )
    assert found.lipschitz.images == 0
    named = resolve(
        tiny.plan(attribution=AttributionPlan(maps=("smooth_grad(n=25)",), regions=("grad_cam",))), tiny.source()
    ).plan
    assert (named.attribution.maps, named.attribution.occlude) == (("smooth_grad",), ("blur", "mean"))


def test_a_model_without_pixels_inside_has_maps_of_the_image_alone(tmp_path):
    plan = Plan(conditions=tiny.plan().conditions.model_copy(update={"use": ()}), lipschitz={"images": 0}, batch=64)
    found = resolve(plan, tiny.source(), spatial=False).plan
    assert (found.attribution.maps, found.attribution.regions) == (("gradient",), ())
    with pytest.raises(ModelError, match="grad_cam needs a layer"):
        tiny.run(tmp_path / "run", attribution=AttributionPlan(maps=("grad_cam",)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epsilon": EpsilonPlan(use=("fgsm(eps=0.1)",))}, "searches for the smallest change"),
        ({"epsilon": EpsilonPlan(use=("fmn(target='bar')",))}, "without a target"),
        ({"epsilon": EpsilonPlan(use=("gaussian_noise(severity=1)",))}, "searches for the smallest change"),
        ({"epsilon": EpsilonPlan(use=("fmn(steps=10)",))}, "keep it in one of the two"),
        ({"attribution": AttributionPlan(regions=("marked",))}, "has a box or a mask"),
    ],
)
def test_what_a_section_refuses(changes, said, tmp_path):
    with pytest.raises(InputError, match=said):
        every_section.run(
            tmp_path / "run", of=tiny.source(), conditions=("clean", "fmn(steps=10)"), **(every_section.NONE | changes)
        )
    assert not (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [
        ("epsilon.use", ["raj"], "ray"),
        ("attribution.maps", ["grad_cams"], "grad_cam"),
        ("attribution.regions", ["markt"], "marked"),
        ("attribution.occlude", ["blurr"], "blur"),
    ],
)
def test_unknown_names_are_refused_when_the_plan_is_read(key, value, nearest):
    with pytest.raises(UnknownNameError, match=nearest):
        read_plan(None, (), {key: value})


def test_the_same_plan_gives_the_same_bytes(looked, tmp_path):
    again = every_section.run(tmp_path / "run")
    assert tiny.hashes(again) == tiny.hashes(looked)


def test_run_json_says_what_each_section_measured(looked):
    facts = {entry["name"]: entry for entry in json.loads((looked / "run.json").read_text())["conditions"]}
    assert (facts[RAY]["cap"], facts[RAY]["part"], facts[RAY]["region"]) == (1.0, "whole", None)
    assert facts["fmn(norm='l2', steps=10)"]["resolution"] is None
    assert (facts[OBJECT]["part"], facts[OBJECT]["region"], facts[OBJECT]["cap"]) == ("object", "grad_cam", 8.0)
    assert {entry["name"] for entry in facts["grad_cam"]["measures"]} >= {"area_50", "gini", "dispersion"}
    assert (facts[HIDE]["part"], facts[HIDE]["by"]) == ("object", "mean")
    assert "signal" not in json.dumps(facts[RAY])
    assert dataclasses.is_dataclass(Ray())
