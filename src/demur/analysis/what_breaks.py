"""What breaks a model: attacks, corruptions, classes, slices, sites and unknown images in one list, worst first.

The rule. With a guarantee, a thing breaks it whose 95 % interval of the share of wrong answers among those given lies
wholly above the guaranteed share; intervals of classes, slices and sites hold for all of their kind at once. Images of
none of the classes break it where the interval of the share answered does, for all those answers are wrong. Without a
guarantee a thing breaks the model whose accuracy lies with its whole interval below half of the clean accuracy.

The order. By the share wrong where it is worst, largest first; a family stands by its worst size and names its smallest
that breaks. Of two alike, that comes first whose smallest size is smaller.
"""

from collections.abc import Iterator
from itertools import groupby

from demur.analysis.accuracy.overall import ConditionRow
from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.verdict.breaking_points import Breaking, Subject, WhatBreaks
from demur.analysis.verdict.verdict import Guarantee
from demur.policies.keeping import keeping


def what_breaks(results: Results) -> WhatBreaks:
    """Everything that breaks the guarantee that was issued, or else half of the accuracy."""
    made = results.guarantee if results.state == "issued" and results.guarantee and results.guarantee.test_n else None
    limit = made.risk if made else 1 - results.accuracy.value / 2
    families, classes = [*_families(results)], sum(row.n > 0 for row in results.per_class)
    found = [*_conditions(families, limit, made), *_classes(results, made, limit), *_slices(results, made, limit)]
    if made and results.unknown is not None and results.void("unknown images") is None:
        share = results.unknown.answered
        found += [Breaking(subject="unknown", name="", measured=share, worst=share)] if share.low > limit else []
    found.sort(key=lambda row: (-_weight(row), row.severity or 0.0))
    return WhatBreaks(
        rule="guarantee" if made else "half",
        limit=limit,
        tried=len(families) + classes + len(results.slices) + (results.unknown is not None),
        rows=tuple(found),
    )


def _weight(row: Breaking) -> float:
    """The share wrong where it is worst; every answer to an unknown image is."""
    return row.worst.value


def _families(results: Results) -> Iterator[list[ConditionRow]]:
    """Attacks and corruptions that are measured at stated sizes, each family from its smallest; void ones are out."""
    sizes = {row.condition: (row.norm, row.target or "") for row in results.attacks}
    endless = {row.condition for row in results.robustness if row.eps is None}
    rows = [
        row
        for row in results.conditions
        if row.kind != "clean"
        and row.condition not in endless
        and results.void("attacks" if row.kind == "attack" else "corruptions") is None
    ]

    def family(row: ConditionRow) -> tuple[str, str, str, str]:
        return (row.kind, row.family, *sizes.get(row.condition, ("", "")))

    for _, group in groupby(sorted(rows, key=lambda row: (*family(row), row.severity)), family):
        yield list(group)


def _conditions(families: list[list[ConditionRow]], limit: float, made: Guarantee | None) -> Iterator[Breaking]:
    for rows in families:
        judged = [(row, _wrong(row, made)) for row in rows]
        known = [(row, share) for row, share in judged if share is not None]
        broken = [(row, share) for row, share in known if _breaks(row, share, limit, made)]
        if not broken:
            continue
        (row, measured), (worst_row, worst) = broken[0], max(broken, key=lambda each: each[1].value)
        yield Breaking(
            subject="attack" if row.kind == "attack" else "corruption",
            name=row.family,
            condition=row.condition,
            severity=row.severity,
            measured=measured,
            worst_condition=worst_row.condition,
            worst_severity=worst_row.severity,
            worst=worst,
            smaller=known[0][0].severity < row.severity,
        )


def _wrong(row: ConditionRow, made: Guarantee | None) -> Quantity | None:
    """The share wrong: of the answers given, without a guarantee of all images; None where the guard is not judged."""
    if made is None:
        return _complement(row.accuracy)
    return row.risk if row.holds is not None else None


def _breaks(row: ConditionRow, share: Quantity, limit: float, made: Guarantee | None) -> bool:
    return row.holds == "broken" if made else share.low > limit


def _classes(results: Results, made: Guarantee | None, limit: float) -> Iterator[Breaking]:
    """Classes, and sites where the guarantee is about these; each by the share that the guarantee would bound."""
    if made and made.parts:
        subject: Subject = "class" if made.kind == "class" else "site"
        for part in made.parts:
            of = part.test_n if made.kind == "class" else part.test_answers
            if of and keeping(part.test_wrong, of, part.risk, len(made.parts)) == "broken":
                share = Quantity(value=part.test_wrong / of, low=float("nan"), high=float("nan"), n=of)
                yield Breaking(subject=subject, name=part.name, measured=share, worst=share)
        if made.kind == "class":
            return
    for row in results.per_class:
        found = row.risk if made else _complement(row.accuracy)
        if found is not None and found.low > limit:
            yield Breaking(subject="class", name=row.name, measured=found, worst=found)


def _slices(results: Results, made: Guarantee | None, limit: float) -> Iterator[Breaking]:
    for row in results.slices:
        found = row.risk if made else _complement(row.accuracy)
        if found is not None and found.low > limit:
            yield Breaking(subject="slice", name=f"{row.column} {row.value}", measured=found, worst=found)


def _complement(share: Quantity) -> Quantity:
    """The share of the others, with its interval."""
    return share.model_copy(update={"value": 1 - share.value, "low": 1 - share.high, "high": 1 - share.low})
