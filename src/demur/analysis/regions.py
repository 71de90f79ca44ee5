"""Object against background: which of the two must change less until the answer does, and what hiding either does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from demur.analysis.average import average, measured, values
from demur.analysis.looked import ClassRegion, Control, Hidden, Leaning, Region
from demur.analysis.ranks import ranks
from demur.analysis.reach import finite, reach
from demur.analysis.run import Floats, Run, groups, share
from demur.analysis.searching import Entry, changes
from demur.analysis.table import Quantity
from demur.metrics.holm import holm
from demur.metrics.paired import Paired, differences, mcnemar, paired, sign_effect
from demur.metrics.quantile import FEWEST
from demur.records import EXPLAIN
from demur.registry.tables import CENTRED, MARKED

_LEVEL = 0.05
_ONE_SIDE = "on too many images a change was found on one side only"
_FALL, _HIDDEN = f"{EXPLAIN}fall", f"{EXPLAIN}hidden"
_OBJECTS = {MARKED: "what the data marks", CENTRED: "a blob in the middle"}
_OBJECT, _BACKGROUND, _WHOLE = "object", "background", "whole"


@dataclass(frozen=True, eq=False)
class Pair:
    """Smallest changes towards object and background of the images that were right, infinite where none was found.

    `rows` has them as columns, and that over the whole image where it was searched. On `unknown` more that were right
    nobody knows where the object is.
    """

    region: str
    norm: str
    cap: float
    rows: pl.DataFrame
    unknown: int

    def side(self, part: str) -> Floats:
        """The smallest changes of one part."""
        return values(self.rows, part)

    @property
    def differences(self) -> Floats:
        """Background − object: positive where the object's change is smaller; 0 where neither was found."""
        return differences(self.side(_OBJECT), self.side(_BACKGROUND))

    @property
    def compared(self) -> Paired:
        """Both sides of every image."""
        return paired(self.side(_OBJECT), self.side(_BACKGROUND), groups(self.rows))


def pairs(run: Run) -> tuple[Pair, ...]:
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


def _pair(run: Run, region: str, sides: Mapping[str, Entry]) -> Pair:
    """Images without a mark, or with a map that is zero everywhere, have no sides: they are left out and counted."""
    own = sides[_OBJECT]
    rows = run.rows(own["name"]).select("sample_id", "label", "group")
    for part, entry in sides.items():
        rows = rows.join(changes(run, entry, part), on="sample_id", how="left", maintain_order="left")
    answered = run.rows("clean").filter(pl.col("predicted") == pl.col("label"))
    right = rows.join(answered, on="sample_id", how="semi")
    known = rows.filter((pl.col(_OBJECT) > 0) & (pl.col(_BACKGROUND) > 0))
    return Pair(region, own["norm"], own["cap"], known, len(right.filter(pl.col(_OBJECT).is_null())))


def regions(run: Run) -> tuple[Region, ...]:
    """Every region of the plan."""
    found = pairs(run)
    blob = next((pair for pair in found if pair.region == CENTRED), None)
    return tuple(_region(run, pair, None if pair is blob else blob) for pair in found)


def _region(run: Run, pair: Pair, blob: Pair | None) -> Region:
    found, units = pair.compared, groups(pair.rows)
    return Region(
        region=pair.region,
        sentence=f"The object is {_OBJECTS.get(pair.region, f'where {pair.region} looks')}",
        norm=pair.norm,
        cap=pair.cap,
        n=found.n,
        unknown=pair.unknown,
        whole=reach(pair.side(_WHOLE), units, pair.cap) if _WHOLE in pair.rows.columns else None,
        object=reach(pair.side(_OBJECT), units, pair.cap),
        background=reach(pair.side(_BACKGROUND), units, pair.cap),
        difference=finite(found.difference, _ONE_SIDE),
        object_smaller=found.smaller,
        background_smaller=found.larger,
        ties=found.ties,
        p_value=found.p_value,
        effect=Quantity.of(found.effect),
        leans_on=_leaning(found, found.p_value),
        control=None if blob is None else _control(pair, blob),
        hidden=tuple(_hidden(run, pair.region)),
        per_class=_classes(run, pair),
    )


def _control(pair: Pair, blob: Pair) -> Control:
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
        beaten=bool(found.p_value < _LEVEL and found.smaller > found.larger),
    )


def _leaning(found: Paired, chance: float) -> Leaning:
    """What must change less is what the answer leans on, as far as the signs tell it from chance."""
    if not chance < _LEVEL:
        return "undecided"
    return "object" if found.smaller > found.larger else "background"


def _hidden(run: Run, region: str) -> Iterator[Hidden]:
    """Over all images, right or wrong: it is the answer given that is watched."""
    answers = run.rows("clean").select("sample_id", answer="predicted")
    for entry in run.conditions("intervention"):
        if entry["region"] != region:
            continue
        rows = measured(run.rows(entry["name"]), _FALL).join(answers, on="sample_id", maintain_order="left")
        yield Hidden(
            condition=entry["name"],
            part=entry["part"],
            by=entry["by"],
            n=len(rows),
            share=average(values(rows, _HIDDEN), rows),
            fall=average(values(rows, _FALL), rows),
            changed=share((rows["predicted"] != rows["answer"]).to_numpy(), rows),
        )


def _classes(run: Run, pair: Pair) -> tuple[ClassRegion, ...]:
    """Class by class, the most object-dependent first in rank; those of six images or groups are tested together."""
    found = [replace(pair, rows=pair.rows.filter(pl.col("label") == k)).compared for k in range(len(run.classes))]
    middles = [each.difference for each in found]
    chances = holm([each.p_value if each.difference.n >= FEWEST else np.nan for each in found])
    places = ranks([middle.value for middle in middles], [middle.n for middle in middles], largest=True)
    return tuple(
        ClassRegion(
            name=name,
            n=each.n,
            difference=finite(each.difference, _ONE_SIDE),
            object_smaller=each.smaller,
            background_smaller=each.larger,
            p_value=float(chance),
            leans_on=_leaning(each, chance),
            rank=place,
        )
        for name, each, chance, place in zip(run.classes, found, chances, places, strict=True)
    )
