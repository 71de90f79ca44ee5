"""Where the model looks, measured: maps, searches weighted to one part of the image, parts hidden."""

from collections.abc import Iterable

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.audit.attacked import attacked
from demur.audit.conditions import Condition
from demur.audit.engine import Bench
from demur.audit.plan import MARKED
from demur.audit.rows import Shown, table
from demur.classifier import Classifier
from demur.errors import InputError, ModelError
from demur.explain import AttributionMap
from demur.explain.agreement import agreement
from demur.explain.columns import map_columns
from demur.explain.hiding import hidden
from demur.explain.weights import enlarged, mask_weights, object_mask, parts, weights
from demur.randomness import Keys
from demur.records import EXPLAIN
from demur.registry import build
from demur.shapes import Flags, Heat, Images, Labels, Logits

_TRIED = 2
_LOOKED = 256

Rows = NDArray[np.int64]


def measured(bench: Bench, condition: Condition, rows: Rows) -> pl.DataFrame:
    """The record rows of some index rows under anything that is measured."""
    match condition.kind:
        case "map":
            return _mapped(bench, condition, rows)
        case "intervention":
            return _hidden(bench, condition, rows)
        case "epsilon":
            return _searched(bench, condition, rows)
        case _:
            return bench.measure(condition, rows)


def has_maps(classifier: Classifier) -> bool:
    """Whether the model has a layer with pixels, which Grad-CAM needs."""
    try:
        _try(classifier, build("map", "grad_cam"))
    except ModelError:
        return False
    return True


def try_maps(bench: Bench, found: Iterable[Condition]) -> None:
    """Refuse maps that this model cannot give, and regions that the data do not mark, before anything is measured.

    Raises:
        ModelError: the model lacks the layer a map is of.
        InputError: `marked`, of data without boxes or masks.
    """
    wanted = {condition.region for condition in found if condition.region}
    maps = [condition.map for condition in found if condition.map] + [build("map", r) for r in wanted - {MARKED}]
    for each in maps:
        _try(bench.classifier, each)
    readable = [row for row in range(len(bench.index)) if bench.index.errors[row] is None][:_LOOKED]
    if MARKED in wanted and not bench.marks(readable)[1].any():
        raise InputError(
            f"[where] asks for the region {MARKED!r}, and none of the first {len(readable)} images of "
            f"{bench.source.address} has a box or a mask. Name a map such as grad_cam instead, or say where the marks "
            "are: ?masks=FOLDER or ?boxes=FOLDER."
        )


def _try(classifier: Classifier, found: AttributionMap) -> None:
    x = torch.full((_TRIED, *classifier.input_shape), 0.5, device=classifier.device)
    y = torch.zeros(_TRIED, dtype=torch.long, device=classifier.device)
    found(classifier, x, y, Keys.of(0, [str(k) for k in range(_TRIED)], "door"))


def _mapped(bench: Bench, condition: Condition, rows: Rows) -> pl.DataFrame:
    """Measures of one map, and how it agrees with the plan's first."""
    assert condition.map is not None
    x, y = bench.load(rows)
    answers = clean_logits(bench, x)
    heat = maps_of(bench, condition.name, x, answers.argmax(dim=1), rows)
    marks, marked = bench.marks(rows)
    columns = map_columns(heat, marks, marked, bench.keys(rows, condition.name))
    first = next(iter(bench.plan.where.maps or ()))
    passes = condition.map.passes
    if first != condition.name:
        other = maps_of(bench, first, x, answers.argmax(dim=1), rows)
        alike, overlap = agreement(heat, other)
        columns |= {f"{EXPLAIN}agreement.{first}": alike, f"{EXPLAIN}overlap.{first}": overlap}
        passes += build("map", first).passes
    return _table(bench, condition, rows, y, answers, passes, columns)


def _hidden(bench: Bench, condition: Condition, rows: Rows) -> pl.DataFrame:
    """What hiding a part does to the answer and to its probability; nothing where the part is not known."""
    assert condition.by is not None
    assert condition.part in {"object", "background"}
    x, y = bench.load(rows)
    clean = clean_logits(bench, x)
    found, _ = _region(bench, condition, x, clean.argmax(dim=1), rows)
    mask = found if condition.region == MARKED else object_mask(found)
    known = parts(mask)
    changed = torch.cat(
        [
            hidden(x[rows_], mask[rows_], condition.part, condition.by)
            for rows_ in torch.split(torch.arange(len(x)), bench.plan.batch)
        ]
    )
    after = clean_logits(bench, changed)
    answer = clean.argmax(dim=1, keepdim=True)
    fall = _share(clean, answer) - _share(after, answer)
    gone = (mask if condition.part == "object" else ~mask).flatten(1).double().mean(dim=1).cpu()
    columns = {
        f"{EXPLAIN}{name}": v.masked_fill(~known.cpu(), torch.nan) for name, v in (("fall", fall), ("hidden", gone))
    }
    shard = _table(bench, condition, rows, y, after, 1 + _price(condition.region), columns)
    return _unknown(shard, known, ["predicted", "margin"])


def _searched(bench: Bench, condition: Condition, rows: Rows) -> pl.DataFrame:
    """A search, weighted to the object or its background where one is asked for."""
    x, y = bench.load(rows)
    weight, known, passes = None, torch.ones(len(x), dtype=torch.bool), 0.0
    if condition.region is not None and condition.part in {"object", "background"}:
        answers = clean_logits(bench, x).argmax(dim=1)
        heat, known = _region(bench, condition, x, answers, rows)
        weigh = mask_weights if condition.region == MARKED else weights
        weight, passes = weigh(heat, condition.part).to(x), 1 + _price(condition.region)
    keys = bench.keys(rows, condition.name)
    found = attacked(condition, bench.classifier, x, y, keys, batch=bench.plan.batch, weights=weight)
    spent = torch.zeros(2, len(x), dtype=torch.int64)
    spent[0] = round(passes)
    shown = Shown(logits=found.outcome.logits.cpu(), scores={}, spent=spent)
    shard = table(condition, bench.identity(rows), y.cpu(), shown, found, bench.errors(rows))
    return _unknown(shard, known, ["predicted", "margin", "epsilon.minimal", "epsilon.censored"])


def _region(bench: Bench, condition: Condition, x: Images, answers: Labels, rows: Rows) -> tuple[Tensor, Flags]:
    """Where the object is, as marked or as a map shows it in the size of the image, and on which images it is known."""
    if condition.region == MARKED:
        marks, _ = bench.marks(rows)
        return marks, parts(marks)
    heat = enlarged(maps_of(bench, str(condition.region), x, answers, rows), (x.shape[2], x.shape[3]))
    return heat, parts(heat)


def maps_of(bench: Bench, name: str, x: Images, classes: Labels, rows: Rows) -> Heat:
    """A map of some images, the same wherever it is asked for."""
    found, keys = build("map", name), bench.keys(rows, name)
    batches = torch.split(torch.arange(len(x)), bench.plan.batch)
    return torch.cat([found(bench.classifier, x[b], classes[b], keys.rows(b.tolist())) for b in batches])


def clean_logits(bench: Bench, x: Images) -> Logits:
    """What the model answers, batch by batch; on the CPU."""
    with torch.no_grad():
        return torch.cat([bench.classifier.logits(part) for part in torch.split(x, bench.plan.batch)]).cpu()


def _share(logits: Logits, classes: Tensor) -> Tensor:
    return logits.double().softmax(dim=1).gather(1, classes)[:, 0]


def _price(region: str | None) -> float:
    """Passes by which a region is found."""
    return 0.0 if region in (None, MARKED) else build("map", region).passes


def _table(
    bench: Bench,
    condition: Condition,
    rows: Rows,
    y: Labels,
    logits: Logits,
    passes: float,
    columns: dict[str, Tensor],
) -> pl.DataFrame:
    spent = torch.zeros(2, len(rows), dtype=torch.int64)
    spent[0] = round(1 + passes)
    shown = Shown(logits=logits, scores={}, spent=spent)
    looked = {name: values.cpu() for name, values in columns.items()}
    return table(condition, bench.identity(rows), y.cpu(), shown, None, bench.errors(rows), looked)


def _unknown(shard: pl.DataFrame, known: Flags, names: list[str]) -> pl.DataFrame:
    """Null what was measured where nobody knows where the object is."""
    flags = pl.Series(known.cpu().numpy())
    return shard.with_columns(pl.when(flags).then(pl.col(name)).alias(name) for name in names if name in shard.columns)
