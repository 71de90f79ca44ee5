"""Object against background: which must change less, what occluding either does, and all attribution results."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from demur.analysis.attribution.map_tables import MapRow, first_search, map_rows
from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.robustness.censored_quantiles import CensoredQuantile, censored_quantile, finite
from demur.analysis.robustness.perturbation_curves import Entry, minimal_changes
from demur.analysis.row_means import mean_of, mean_over, rows_with, values
from demur.analysis.run_folder import Floats, Run, share
from demur.metrics.class_ranking_test import class_ranks
from demur.metrics.paired import Paired, differences, holm, mcnemar, paired, sign_effect
from demur.metrics.quantiles import FEWEST
from demur.metrics.rank_correlation import spearman
from demur.records import EXPLAIN, groups
from demur.registry.tables import CENTRED, MARKED

Reliance: TypeAlias = Literal["object", "background", "undecided"]


class Occlusion(Table):
    """Occlusion of one part of the image: fall of the probability of the answer, share of answers that change.

    `share` is the mean share of the pixels that are hidden: a part that is nearly everything takes the answer with it.
    """

    condition: str
    part: Literal["object", "background"]
    fill: str
    n: int
    share: Quantity
    fall: Quantity
    answer_changes: Quantity


class ClassRegion(Table):
    """One class: the paired difference background − object, and what it relies on as far as that can be told.

    `p_value` holds for all classes tested at once, and is null for those of fewer than six images or groups; rank 1
    relies most on the object.
    """

    name: str
    n: int
    difference: Quantity
    object_smaller: int
    background_smaller: int
    p_value: Number
    reliance: Reliance
    rank: int | None


class Control(Table):
    """Control region: a centred blob as the object of the same images, whatever they show.

    `effect` is the blob's; `p_value` is McNemar's, of the region's object having the smaller change on as many images
    as the blob, and `is_exceeded` says that the object has it on more.
    """

    n: int
    effect: Quantity
    p_value: Number
    is_exceeded: bool


class Region(Table):
    """Object against background, where `region` says what the object is: a map, or `marked` boxes and masks.

    Changes weighted to either side, of equal L2, searched along the same direction. `difference` is the median of
    background − object over images that were right; a side that never flips counts as larger than any that does, both
    never as a tie. `effect` is the share where the object's change is smaller minus the share where the background's
    is. `without_object` more images were right and are left out: they have no object mask, or a map with nothing or
    everything in it. `control` is null where the plan has no region `centred`, and for that itself. `lack` says why
    nothing may be said of what the model relies on, whatever the signs: too few images, most of them left out, or too
    few classes among them; `reliance` is then undecided.
    """

    region: str
    sentence: str
    norm: str
    cap: float
    n: int
    whole: CensoredQuantile | None
    object: CensoredQuantile
    background: CensoredQuantile
    difference: Quantity
    object_smaller: int
    background_smaller: int
    ties: int
    without_object: int = 0
    p_value: Number
    effect: Quantity
    reliance: Reliance
    lack: str | None = None
    control: Control | None = None
    occlusions: tuple[Occlusion, ...]
    per_class: tuple[ClassRegion, ...]


class RegionAgreement(Table):
    """A map as region against the object masks, on images that were right and have both.

    `mass_inside` is the share of the map's mass in the object mask, `mask_share` its share of the pixels, `same_sign`
    how often both differences point the same way where neither is a tie, `correlation` that of their ranks.
    """

    region: str
    n: int
    mass_inside: Quantity
    mask_share: Quantity
    same_sign: Quantity
    correlation: Quantity


class Attribution(Table):
    """All attribution results; `epsilon_of` is the search that the maps' measures are correlated with."""

    maps: tuple[MapRow, ...]
    regions: tuple[Region, ...]
    agreements: tuple[RegionAgreement, ...]
    epsilon_of: str | None = None


_LEVEL = 0.05
_FEWEST_IMAGES = 30
_ONE_SIDE = "on too many images a change was found on one side only"
_FALL, _HIDDEN = f"{EXPLAIN}fall", f"{EXPLAIN}hidden"
_OBJECTS = {MARKED: "what the data marks", CENTRED: "a blob in the middle"}
_OBJECT, _BACKGROUND, _WHOLE = "object", "background", "whole"


@dataclass(frozen=True, eq=False)
class RegionPair:
    """Minimal perturbations of object and background of the images that were right, infinite where none was found.

    `rows` has them as columns, and that over the whole image where it was searched. `without_object` more
    that were right have no object region; those with and without are of `classes` classes.
    """

    region: str
    norm: str
    cap: float
    rows: pl.DataFrame
    without_object: int
    classes: int

    def side(self, part: str) -> Floats:
        """The minimal perturbations of one part."""
        return values(self.rows, part)

    @property
    def differences(self) -> Floats:
        """Background − object: positive where the object's change is smaller; 0 where neither was found."""
        return differences(self.side(_OBJECT), self.side(_BACKGROUND))

    @property
    def lack(self) -> str | None:
        """Why these images say nothing of the model as a whole: a verdict needs enough of them, of enough classes."""
        n, everyone, own = len(self.rows), len(self.rows) + self.without_object, self.rows["label"].n_unique()
        if n < _FEWEST_IMAGES:
            return f"only {n} images have an object and a background, fewer than {_FEWEST_IMAGES}"
        if 2 * n < everyone:
            return f"{self.without_object} of {everyone} images have no object and background, more than half"
        if 2 * own < self.classes or own == 1 < self.classes:
            return f"only {own} of {self.classes} classes have images with an object and a background"
        return None

    @property
    def compared(self) -> Paired:
        """Both sides of every image."""
        return paired(self.side(_OBJECT), self.side(_BACKGROUND), groups(self.rows))


def pairs(run: Run) -> tuple[RegionPair, ...]:
    """Every region that was searched on both sides, in the order of the plan."""
    entries = [entry for entry in run.conditions("epsilon") if entry["region"] is not None]
    found = []
    for region in dict.fromkeys(entry["region"] for entry in entries):
        sides = {entry["part"]: entry for entry in entries if entry["region"] == region}
        # Nothing is weighted over the whole image, so one search of it serves every region.
        anywhere = {entry["part"]: entry for entry in entries if entry["part"] == _WHOLE}
        if {_OBJECT, _BACKGROUND} <= set(sides):
            found.append(_pair(run, region, anywhere | sides))
    return tuple(found)


def _pair(run: Run, region: str, sides: Mapping[str, Entry]) -> RegionPair:
    """Images without a mark, or with a map that is zero everywhere, have no sides: they are left out and counted."""
    own = sides[_OBJECT]
    rows = run.rows(own["name"]).select("sample_id", "label", "group")
    for part, entry in sides.items():
        rows = rows.join(minimal_changes(run, entry, part), on="sample_id", how="left", maintain_order="left")
    answered = run.rows("clean").filter(pl.col("predicted") == pl.col("label"))
    right = rows.join(answered, on="sample_id", how="semi")
    known = rows.filter((pl.col(_OBJECT) > 0) & (pl.col(_BACKGROUND) > 0))
    bare = right.filter(pl.col(_OBJECT).is_null())
    classes = pl.concat([known["label"], bare["label"]]).n_unique()
    return RegionPair(region, own["norm"], own["cap"], known, len(bare), classes)


def regions(run: Run) -> tuple[Region, ...]:
    """Every region of the plan."""
    found = pairs(run)
    blob = next((pair for pair in found if pair.region == CENTRED), None)
    return tuple(_region(run, pair, None if pair is blob else blob) for pair in found)


def _region(run: Run, pair: RegionPair, blob: RegionPair | None) -> Region:
    found, units = pair.compared, groups(pair.rows)
    return Region(
        region=pair.region,
        sentence=f"The object is {_OBJECTS.get(pair.region, f'where {pair.region} looks')}",
        norm=pair.norm,
        cap=pair.cap,
        n=found.n,
        without_object=pair.without_object,
        whole=censored_quantile(pair.side(_WHOLE), units, pair.cap) if _WHOLE in pair.rows.columns else None,
        object=censored_quantile(pair.side(_OBJECT), units, pair.cap),
        background=censored_quantile(pair.side(_BACKGROUND), units, pair.cap),
        difference=finite(found.difference, _ONE_SIDE),
        object_smaller=found.smaller,
        background_smaller=found.larger,
        ties=found.ties,
        p_value=found.p_value,
        effect=Quantity.of(found.effect),
        reliance="undecided" if pair.lack else _leaning(found, found.p_value),
        lack=pair.lack,
        control=None if blob is None else _control(pair, blob),
        occlusions=tuple(_occlusions(run, pair.region)),
        per_class=_classes(run, pair),
    )


def _control(pair: RegionPair, blob: RegionPair) -> Control:
    """On the images that have both, whether the object has the smaller change on more of them than the blob."""
    theirs = pl.DataFrame({"sample_id": blob.rows["sample_id"], "theirs": blob.differences})
    rows = pair.rows.with_columns(ours=pair.differences).join(theirs, on="sample_id", how="inner")
    ours, blobs = (rows[name].to_numpy() for name in ("ours", "theirs"))
    units = groups(rows)
    found = mcnemar(blobs > 0, ours > 0, units)
    return Control(
        n=len(rows),
        effect=Quantity.of(sign_effect(blobs, units)),
        p_value=found.p_value,
        is_exceeded=bool(found.p_value < _LEVEL and found.smaller > found.larger),
    )


def _leaning(found: Paired, chance: float) -> Reliance:
    """What must change less is what the answer relies on, as far as the signs tell it from chance."""
    if not chance < _LEVEL:
        return "undecided"
    return "object" if found.smaller > found.larger else "background"


def _occlusions(run: Run, region: str) -> Iterator[Occlusion]:
    """Over all images, right or wrong: it is the answer given that is watched."""
    answers = run.rows("clean").select("sample_id", answer="predicted")
    for entry in run.conditions("intervention"):
        if entry["region"] != region:
            continue
        rows = rows_with(run.rows(entry["name"]), _FALL).join(answers, on="sample_id", maintain_order="left")
        yield Occlusion(
            condition=entry["name"],
            part=entry["part"],
            fill=entry["by"],
            n=len(rows),
            share=mean_over(values(rows, _HIDDEN), rows),
            fall=mean_over(values(rows, _FALL), rows),
            answer_changes=share((rows["predicted"] != rows["answer"]).to_numpy(), rows),
        )


def _classes(run: Run, pair: RegionPair) -> tuple[ClassRegion, ...]:
    """Class by class, the most object-dependent first in rank; those of six images or groups are tested together."""
    found = [replace(pair, rows=pair.rows.filter(pl.col("label") == k)).compared for k in range(len(run.classes))]
    middles = [each.difference for each in found]
    chances = holm([each.p_value if each.difference.n >= FEWEST else np.nan for each in found])
    places = class_ranks([middle.value for middle in middles], [middle.n for middle in middles], largest=True)
    return tuple(
        ClassRegion(
            name=name,
            n=each.n,
            difference=finite(each.difference, _ONE_SIDE),
            object_smaller=each.smaller,
            background_smaller=each.larger,
            p_value=float(chance),
            reliance=_leaning(each, chance),
            rank=place,
        )
        for name, each, chance, place in zip(run.classes, found, chances, places, strict=True)
    )


def region_agreements(run: Run) -> tuple[RegionAgreement, ...]:
    """Every map that served as a region, where the data's marks did too."""
    found = {pair.region: pair for pair in pairs(run)}
    marked = found.pop(MARKED, None)
    maps = [pair for pair in found.values() if pair.region != CENTRED]
    return () if marked is None else tuple(_agreement(run, pair, marked) for pair in maps)


def _agreement(run: Run, pair: RegionPair, marked: RegionPair) -> RegionAgreement:
    """On images that were right and have both; signs are compared where neither difference is a tie."""
    theirs = pl.DataFrame({"sample_id": marked.rows["sample_id"], "theirs": marked.differences})
    ours = pair.rows.with_columns(ours=pair.differences)
    rows = ours.join(theirs, on="sample_id", maintain_order="left")
    told = rows.filter((pl.col("ours") != 0) & (pl.col("theirs") != 0))
    seen = _map_rows(run, pair.region).join(rows, on="sample_id", how="semi")
    return RegionAgreement(
        region=pair.region,
        n=len(rows),
        mass_inside=mean_of(seen, f"{EXPLAIN}energy"),
        mask_share=mean_of(seen, f"{EXPLAIN}covered"),
        same_sign=share((np.sign(told["ours"]) == np.sign(told["theirs"])).to_numpy(), told),
        correlation=Quantity.of(spearman(rows["ours"].to_numpy(), rows["theirs"].to_numpy(), groups(rows))),
    )


def _map_rows(run: Run, region: str) -> pl.DataFrame:
    """What was measured of the map itself; nothing where the plan asks for it as a region only."""
    names = [entry["name"] for entry in run.conditions("map") if entry["map"] == region]
    return run.rows(names[0]) if names else run.rows("clean").clear()


def attribution(run: Run) -> Attribution | None:
    """Maps, object against background and how both agree; None where the plan asked for neither."""
    maps, sides = map_rows(run), regions(run)
    if not maps and not sides:
        return None
    search = first_search(run) if maps else None
    return Attribution(
        maps=maps,
        regions=sides,
        agreements=region_agreements(run),
        epsilon_of=None if search is None else search["name"],
    )
