"""Rows of attribution maps, occlusions, and searches that may be weighted to one part of the image."""

import polars as pl
import torch
from torch import Tensor

from demur.attribution.grids import centred_map
from demur.attribution.localisation import agreement_columns, map_columns
from demur.attribution.occlusion import enlarge, has_both_parts, object_mask, occlude, weights
from demur.pipeline.job import IndexRows, Job, finite
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.run.record_rows import ForwardScores, identity, record_table, run_attack
from demur.records import EXPLAIN
from demur.registry.tables import CENTRED, MARKED
from demur.shapes import Flags, Heat, Images, Labels, Logits


def measure_map(job: Job, condition: Condition, rows: IndexRows) -> pl.DataFrame:
    """Measures of one map, and how it agrees with the plan's first."""
    assert condition.map is not None
    x, y = job.load(rows)
    answers = clean_logits(job, x)
    heat = maps_of(job, condition.name, x, answers.argmax(dim=1), rows)
    marks, marked = job.marks(rows)
    columns = map_columns(heat, marks, marked, job.keys(rows, condition.name))
    first = next(iter(job.plan.attribution.maps or ()))
    gradients = condition.map.gradients
    if first != condition.name:
        other = maps_of(job, first, x, answers.argmax(dim=1), rows)
        columns |= agreement_columns(heat, other, first)
        gradients += _price(job, first)
    return _table(job, condition, rows, y, _forward_scores(answers, 1, gradients), columns)


def measure_occlusion(job: Job, condition: Condition, rows: IndexRows) -> pl.DataFrame:
    """What hiding a part does to the answer and to its probability; nothing where the part is not known."""
    assert condition.by is not None
    assert condition.part in {"object", "background"}
    x, y = job.load(rows)
    clean = clean_logits(job, x)
    mask = object_mask(_region(job, condition.region, x, clean.argmax(dim=1), rows))
    located = has_both_parts(mask)
    batches = zip(torch.split(x, job.plan.batch), torch.split(mask, job.plan.batch), strict=True)
    changed = torch.cat([occlude(*batch, condition.part, condition.by) for batch in batches])
    after = clean_logits(job, changed)
    answer = clean.argmax(dim=1, keepdim=True)
    fall = _share(clean, answer) - _share(after, answer)
    gone = (mask if condition.part == "object" else ~mask).flatten(1).double().mean(dim=1).cpu()
    columns = {
        f"{EXPLAIN}{name}": v.masked_fill(~located.cpu(), torch.nan) for name, v in (("fall", fall), ("hidden", gone))
    }
    shard = _table(job, condition, rows, y, _forward_scores(after, 2, _price(job, condition.region)), columns)
    return _blank(shard, located, ["predicted", "margin"])


def measure_search(job: Job, condition: Condition, rows: IndexRows) -> pl.DataFrame:
    """A search, weighted to the object or its background where one is named."""
    x, y = job.load(rows)
    weight, located, forwards, gradients = None, torch.ones(len(x), dtype=torch.bool), 0, 0
    if condition.region is not None and condition.part in {"object", "background"}:
        answers = clean_logits(job, x).argmax(dim=1)
        heat = _region(job, condition.region, x, answers, rows)
        weight, located = weights(heat, condition.part), has_both_parts(heat)
        forwards, gradients = 1, _price(job, condition.region)
    keys = job.keys(rows, condition.name)
    found = run_attack(condition, job.classifier, x, y, keys, batch=job.plan.batch, weights=weight)
    scores = _forward_scores(finite(found.logits.cpu()), forwards, gradients)
    shard = record_table(condition, identity(job, rows), y.cpu(), scores, found)
    return _blank(shard, located, ["predicted", "margin", "epsilon.minimal", "epsilon.censored"])


def _region(job: Job, region: str | None, x: Images, answers: Labels, rows: IndexRows) -> Heat:
    """Where the object is, in the size of the image: as a map shows it, as a mark that is 1 on it, or a blob."""
    assert region is not None
    if region == MARKED:
        return job.marks(rows)[0].to(x)
    if region == CENTRED:
        return centred_map(x[:, 0])
    return enlarge(maps_of(job, region, x, answers, rows), (x.shape[2], x.shape[3]))


def maps_of(job: Job, name: str, x: Images, classes: Labels, rows: IndexRows) -> Heat:
    """A map of some images, the same wherever it is used."""
    found, keys = job.maps[name], job.keys(rows, name)
    batches = torch.split(torch.arange(len(x)), job.plan.batch)
    return torch.cat([found(job.classifier, x[b], classes[b], keys.rows(b.tolist())) for b in batches])


def clean_logits(job: Job, x: Images) -> Logits:
    """What the model answers, batch by batch; on the CPU."""
    with torch.no_grad():
        return finite(torch.cat([job.classifier.logits(part) for part in torch.split(x, job.plan.batch)]).cpu())


def _share(logits: Logits, classes: Tensor) -> Tensor:
    return logits.double().softmax(dim=1).gather(1, classes)[:, 0]


def _price(job: Job, region: str | None) -> int:
    """Gradients by which a region is found."""
    return job.maps[region].gradients if region is not None and region in job.maps else 0


def _table(
    job: Job, condition: Condition, rows: IndexRows, y: Labels, shown: ForwardScores, columns: dict[str, Tensor]
) -> pl.DataFrame:
    more = {name: values.cpu() for name, values in columns.items()}
    return record_table(condition, identity(job, rows), y.cpu(), shown, more=more)


def _forward_scores(logits: Logits, forwards: int, gradients: int) -> ForwardScores:
    """Answers without scores, and the forwards and backwards that each took."""
    spent = torch.tensor([[forwards + gradients], [gradients]]).expand(2, len(logits))
    return ForwardScores(logits=logits, scores={}, spent=spent)


def _blank(shard: pl.DataFrame, located: Flags, names: list[str]) -> pl.DataFrame:
    """Null what was measured where nobody knows where the object is."""
    flags = pl.Series(located.cpu().numpy())
    return shard.with_columns(pl.when(flags).then(pl.col(name)).alias(name) for name in names if name in shard.columns)
