"""Object against background, computed again from the Parquet files by slow obvious code."""

import math
from statistics import fmean, median_low

import polars as pl
import pytest
from tests.analysis import attribution_runs
from tests.analysis.attribution_runs import CAP, GRAD_CAM
from tests.analysis.plain_rows import exact_median_ends, ranked_alike, rows_of, same, share, wilson_ends, wrong

from demur.analysis.attribution.region_tables import RegionPair, _control, _region, attribution, pairs
from demur.analysis.run_folder import Run

REGIONS = (GRAD_CAM, "marked")


@pytest.fixture(scope="module")
def found(looked):
    return attribution(Run(looked))


def of(rows, name):
    (row,) = (row for row in rows if row.region == name)
    return row


def both_sides(looked, region):
    return attribution_runs.sides(lambda name: rows_of(looked, name), region)


def by_chance(above, below):
    """Twice the chance of so few heads, or fewer, of so many coins."""
    n, few = above + below, min(above, below)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(few + 1)) / 2**n) if n else 1.0


def test_the_regions_of_the_plan_in_its_order(found):
    assert [row.region for row in found.regions] == [*REGIONS, "centred"]
    assert [row.sentence for row in found.regions] == [
        "The object is where grad_cam looks",
        "The object is what the data marks",
        "The object is a blob in the middle",
    ]


@pytest.mark.parametrize("region", REGIONS)
def test_an_object_has_to_beat_a_blob_in_the_middle(looked, found, region):
    control = of(found.regions, region).control
    ours, blobs = both_sides(looked, region), both_sides(looked, "centred")
    both = [
        (attribution_runs.apart(ours[name]) > 0, attribution_runs.apart(blobs[name]) > 0)
        for name in ours
        if name in blobs
    ]
    gained, lost = sum(a and not b for a, b in both), sum(b and not a for a, b in both)
    signs = [attribution_runs.apart(blobs[name]) for name in ours if name in blobs]
    assert control.n == len(both) > 40
    assert same(control.p_value, by_chance(gained, lost))
    assert same(control.effect.value, (sum(d > 0 for d in signs) - sum(d < 0 for d in signs)) / len(signs))
    assert control.is_exceeded == (gained > lost and by_chance(gained, lost) < 0.05)


def test_the_blob_has_no_control_and_a_better_object_beats_it(found):
    assert of(found.regions, "centred").control is None
    assert [of(found.regions, region).control.is_exceeded for region in REGIONS] == [True, True]


def test_a_blob_is_not_beaten_by_what_is_as_near(looked):
    blob = next(pair for pair in pairs(Run(looked)) if pair.region == "centred")
    control = _control(blob, blob)
    assert (control.p_value, control.is_exceeded) == (1.0, False)


@pytest.mark.parametrize("region", REGIONS)
def test_a_region(looked, found, region):
    row, known = of(found.regions, region), both_sides(looked, region)
    apart = [attribution_runs.apart(both) for both in known.values()]
    above, below = sum(d > 0 for d in apart), sum(d < 0 for d in apart)
    assert (row.n, row.norm, row.cap) == (len(apart), "l2", CAP)
    assert (row.object_smaller, row.background_smaller, row.ties) == (above, below, len(apart) - above - below)
    clean = {r["sample_id"] for r in rows_of(looked, "clean") if not wrong(r)}
    searched = {r["sample_id"] for r in rows_of(looked, f"ray(norm='l2', part='object', region={region!r})")}
    assert row.without_object == len(clean & searched) - row.n > 0
    assert row.ties > 0
    assert any(map(math.isinf, apart)), "or the test shows nothing"
    assert same(row.p_value, by_chance(above, below))
    assert same(row.effect.value, (above - below) / len(apart))
    assert row.effect.low < row.effect.value < row.effect.high
    assert same(row.difference.value, median_low(apart))
    assert (row.difference.low, row.difference.high) == exact_median_ends(apart)
    assert row.reliance == "object"


def test_a_difference_is_positive_where_the_side_of_the_object_is_nearer(looked):
    for pair in pairs(Run(looked)):
        known = both_sides(looked, pair.region)
        assert pair.differences.tolist() == [attribution_runs.apart(known[name]) for name in pair.rows["sample_id"]]


@pytest.mark.parametrize("region", REGIONS)
def test_how_far_each_side_is(looked, found, region):
    row, known = of(found.regions, region), both_sides(looked, region)
    everywhere = {
        r["sample_id"]: attribution_runs.change(r)
        for r in rows_of(looked, "ray(norm='l2', part='whole', region='grad_cam')")
    }
    for part, reach in (("object", row.object), ("background", row.background), ("whole", row.whole)):
        sizes = [everywhere[name] if part == "whole" else both[part] for name, both in known.items()]
        middle, ends = median_low(sizes), exact_median_ends(sizes)
        assert reach.n == len(sizes)
        assert ("value" in reach.above) is math.isinf(middle)
        assert same(reach.value, min(middle, CAP))
        assert (reach.low, reach.high) == (min(ends[0], CAP), min(ends[1], CAP))


@pytest.mark.parametrize("region", REGIONS)
def test_classes_of_a_region(looked, found, region):
    row, known = of(found.regions, region), both_sides(looked, region)
    apart = [
        [attribution_runs.apart(both) for both in known.values() if both["row"]["label"] == k]
        for k in range(len(attribution_runs.CLASSES))
    ]
    counts = [(sum(d > 0 for d in own), sum(d < 0 for d in own)) for own in apart]
    raw = {k: by_chance(*counts[k]) for k, own in enumerate(apart) if len(own) >= 6}
    assert set(raw) == {0, 1}
    first, second = sorted(raw, key=raw.__getitem__)
    corrected = {first: min(1, 2 * raw[first]), second: max(min(1, 2 * raw[first]), raw[second])}
    for k, each in enumerate(row.per_class):
        assert (each.name, each.n) == (attribution_runs.CLASSES[k], len(apart[k]))
        assert (each.object_smaller, each.background_smaller) == counts[k]
        assert same(each.p_value, corrected.get(k, math.nan))
        reliance_sentence = (
            "undecided" if corrected.get(k, 1) >= 0.05 else "object" if counts[k][0] > counts[k][1] else "background"
        )
        assert each.reliance == reliance_sentence
        middle = median_low(apart[k]) if apart[k] else math.nan
        assert same(each.difference.value, middle if math.isfinite(middle) else math.nan)
    ranked = sorted(raw, key=lambda k: -median_low(apart[k]))
    assert [row.per_class[k].rank for k in ranked] == [1, 2]
    assert [row.per_class[k].rank for k in (2, 3)] == [None, None]


@pytest.mark.parametrize("region", REGIONS)
def test_hiding_a_part(looked, found, region):
    answers = {row["sample_id"]: row["predicted"] for row in rows_of(looked, "clean")}
    hidden = of(found.regions, region).occlusions
    assert [(each.part, each.fill) for each in hidden] == [
        ("object", "blur"),
        ("background", "blur"),
        ("object", "mean"),
        ("background", "mean"),
    ]
    for each in hidden:
        rows = [row for row in rows_of(looked, each.condition) if row["explain.fall"] is not None]
        changed = [row["predicted"] != answers[row["sample_id"]] for row in rows]
        assert any(wrong(row) for row in rows)
        assert each.n == each.fall.n == each.answer_changes.n == len(rows) < 100
        assert same(each.fall.value, fmean(row["explain.fall"] for row in rows))
        assert same(each.share.value, fmean(row["explain.hidden"] for row in rows))
        assert each.fall.low < each.fall.value < each.fall.high
        assert same(each.answer_changes.value, share(changed))
        assert (each.answer_changes.low, each.answer_changes.high) == pytest.approx(
            wilson_ends(sum(changed), len(rows)), abs=1e-4
        )


def test_a_map_beside_the_marks(looked, found):
    (row,) = found.agreements
    ours, theirs = both_sides(looked, GRAD_CAM), both_sides(looked, "marked")
    apart = {
        name: (attribution_runs.apart(ours[name]), attribution_runs.apart(theirs[name]))
        for name in ours
        if name in theirs
    }
    told = [(one > 0) == (other > 0) for one, other in apart.values() if one != 0 and other != 0]
    seen = [each for each in rows_of(looked, GRAD_CAM) if each["sample_id"] in apart]
    assert (row.region, row.n) == (GRAD_CAM, len(apart))
    assert 0 < len(told) < len(apart), "or the test shows nothing of ties"
    assert (row.same_sign.value, row.same_sign.n) == (share(told), len(told))
    assert same(row.correlation.value, ranked_alike(list(apart.values())))
    assert same(
        row.mass_inside.value, fmean(each["explain.energy"] for each in seen if each["explain.energy"] is not None)
    )
    assert same(
        row.mask_share.value, fmean(each["explain.covered"] for each in seen if each["explain.covered"] is not None)
    )


def reliance_sentence(tmp_path, found, n=40, grouped=False):
    """A run that found these smallest changes towards the object and its background, of images that are all cats."""
    maker = attribution_runs.Maker(tmp_path / "run", grouped=grouped)
    maker.wrong[:] = False
    maker.clean()
    for part, sizes in zip(("object", "background"), found, strict=True):
        name = f"ray(norm='l2', part={part!r}, region='grad_cam')"
        maker.search(name, n, [sizes] * n if isinstance(sizes, float) else sizes, part=part, region=GRAD_CAM)
    (row,) = attribution(Run(maker.finish())).regions
    return row


@pytest.mark.parametrize(
    ("found", "reliance"),
    [
        ((0.1, 0.2), "object"),
        ((0.2, 0.1), "background"),
        ((0.1, 0.1), "undecided"),
        ((0.1, math.inf), "object"),
        ((math.inf, 0.1), "background"),
        ((math.inf, math.inf), "undecided"),
    ],
)
def test_the_side_that_must_change_less_is_what_the_answer_leans_on(tmp_path, found, reliance):
    row = reliance_sentence(tmp_path, found)
    assert row.reliance == reliance
    assert row.effect.value == {"object": 1, "background": -1, "undecided": 0}[reliance]
    assert row.ties == (40 if reliance == "undecided" else 0)
    assert (row.whole, row.occlusions) == (None, ())
    one_sided = math.inf in found and reliance != "undecided"
    assert math.isnan(row.difference.value) is one_sided
    assert (row.difference.reason is None) is not one_sided


def test_five_images_decide_nothing(tmp_path):
    row = reliance_sentence(tmp_path, (0.1, 0.2), n=5)
    assert (row.n, row.object_smaller, row.reliance) == (5, 5, "undecided")
    assert row.difference.reason


def test_a_side_alone_is_no_region(tmp_path):
    maker = attribution_runs.Maker(tmp_path / "run")
    maker.clean()
    maker.search(
        "ray(norm='l2', part='object', region='grad_cam')",
        20,
        attribution_runs.sizes(1),
        part="object",
        region=GRAD_CAM,
    )
    run = Run(maker.finish())
    assert pairs(run) == ()
    assert attribution(run) is None


def test_images_of_a_group_have_one_vote(tmp_path):
    """Forty images in a dozen lots are no forty coins."""
    row = reliance_sentence(tmp_path, (0.1, 0.2), grouped=True)
    assert row.effect.unit == row.difference.unit == row.object.unit == "group"
    assert row.p_value == pytest.approx(2 / 2**row.effect.n)
    assert row.effect.n < row.n == 40


def pair_of(labels, without=0, classes=None):
    """An object that is always nearer than the background, on images of these labels."""
    rows = pl.DataFrame(
        {
            "sample_id": [str(k) for k in range(len(labels))],
            "label": labels,
            "group": pl.Series([None] * len(labels), dtype=pl.String()),
            "object": [1.0] * len(labels),
            "background": [2.0] * len(labels),
        }
    )
    return RegionPair("grad_cam", "l2", CAP, rows, without, classes or len(set(labels)))


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (pair_of([0, 1] * 15), None),
        (pair_of([0, 1] * 14 + [0]), "only 29 images have an object and a background, fewer than 30"),
        (pair_of([0, 1] * 15, without=30), None),
        (pair_of([0, 1] * 15, without=31), "31 of 61 images have no object and background, more than half"),
        (pair_of([0, 1] * 15, without=5, classes=4), None),
        (pair_of([0, 1] * 15, without=5, classes=5), "only 2 of 5 classes"),
        (pair_of([0] * 40, without=5, classes=2), "only 1 of 2 classes"),
        (pair_of([0] * 40), None),
    ],
)
def test_a_verdict_on_the_model_needs_enough_images_of_enough_classes(looked, pair, words):
    assert pair.lack is words if words is None else words in pair.lack
    found = _region(Run(looked), pair, None)
    assert found.lack == pair.lack
    assert found.reliance == ("undecided" if words else "object")
    assert found.object_smaller == found.n == len(pair.rows)
