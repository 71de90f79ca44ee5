"""Entropy of the answers: where it lies for right and wrong ones, beside confidence, and within the layers."""

from collections.abc import Iterator
from typing import Any

import altair as alt

from demur.analysis.figures.entropy_tables import EntropyTable, Spread
from demur.analysis.results import Results
from demur.report.charts.chart_theme import Drawing, Rows, main, number, share_axis
from demur.report.charts.condition_charts import condition_names
from demur.report.phrases import decimal

_OUTCOMES = ("right", "wrong")
_QUANTILES = ("lowest", "lower", "middle", "upper", "highest")
_MOST_LAYERED = 4


def entropy_charts(results: Results) -> Iterator[Drawing]:
    """Counts, quantiles and points of right and wrong answers; nothing where no logits were kept."""
    found = None if results.figures is None else results.figures.entropy
    if found is not None:
        yield _counts(found)
        yield _by_outcome(found)
        yield _against_confidence(found)


def correlation_words(found: EntropyTable) -> str:
    """How entropy goes along with being wrong, with its interval and n."""
    rho = found.correlation
    if rho.value != rho.value:
        return f"No rank correlation: {rho.reason}."
    ends = f" ({decimal(rho.low, 2)} to {decimal(rho.high, 2)})" if rho.low == rho.low else ""
    return f"Rank correlation of entropy with being wrong: {decimal(rho.value, 2)}{ends}, {rho.n:,} {rho.unit}s."


def _counts(found: EntropyTable) -> Drawing:
    """Square roots of counts, so that a bin of few images is seen beside one of thousands."""
    counts = {"right": found.right_counts, "wrong": found.wrong_counts}
    rows: Rows = [
        {
            "outcome": name,
            "low": number(found.edges[at]),
            "high": number(found.edges[at + 1]),
            "count": count,
            "none": 0,
        }
        for name in _OUTCOMES
        for at, count in enumerate(counts[name])
        if count
    ]
    bars = main().mark_rect(opacity=0.6, strokeWidth=0).encode(
        x=alt.X("low:Q", axis=_entropy_axis(), scale=alt.Scale(domain=[0, found.most], nice=False)),
        x2="high:Q",
        y=alt.Y("count:Q", axis=alt.Axis(title="images", tickCount=5), scale=alt.Scale(type="sqrt"), stack=None),
        y2="none:Q",
        color=_color(),
        tooltip=[
            alt.Tooltip("outcome:N"),
            alt.Tooltip("count:Q", title="images", format=","),
            alt.Tooltip("low:Q", title="from", format=".3"),
            alt.Tooltip("high:Q", title="to", format=".3"),
        ],
    )  # fmt: skip
    text = f"Histograms of entropy of {found.right.n:,} right and {found.wrong.n:,} wrong answers."
    return Drawing.of("entropy-histogram", text, alt.layer(bars), rows, height=240)


def _by_outcome(found: EntropyTable) -> Drawing:
    rows: Rows = [
        {"outcome": f"{name} ({spread.n:,})", "kind": name, **_ends(spread)}
        for name, spread in zip(_OUTCOMES, (found.right, found.wrong), strict=True)
        if spread.n
    ]
    domain = alt.Scale(domain=[0, found.most], nice=False)
    chart = alt.layer(
        *_boxes("outcome", [row["outcome"] for row in rows], _entropy_axis(), domain, _color("kind", legend=False))
    )
    text = f"Quantiles of entropy of right and wrong answers. {correlation_words(found)}"
    return Drawing.of("entropy-correctness", text, chart, rows, height=130)


def _against_confidence(found: EntropyTable) -> Drawing:
    rows: Rows = [
        {
            "confidence": number(point.confidence),
            "entropy": number(point.entropy),
            "outcome": "right" if point.is_right else "wrong",
        }
        for point in found.points
    ]
    shape = alt.Shape("outcome:N", scale=alt.Scale(domain=list(_OUTCOMES)))
    points = main().mark_point(filled=True, size=34, opacity=0.6).encode(
        x=alt.X("confidence:Q", axis=share_axis("stated confidence"), scale=alt.Scale(domainMax=1, zero=False)),
        y=alt.Y("entropy:Q", axis=_entropy_axis(), scale=alt.Scale(domain=[0, found.most], nice=False)),
        color=_color(),
        shape=shape,
        tooltip=[
            alt.Tooltip("outcome:N"),
            alt.Tooltip("confidence:Q", format=".1%"),
            alt.Tooltip("entropy:Q", format=".3"),
        ],
    )  # fmt: skip
    n = found.right.n + found.wrong.n
    text = f"Entropy against confidence of {len(rows)} of {n:,} images, sampled by hash; wrong answers stand apart."
    return Drawing.of("entropy-confidence", text, alt.layer(points), rows, height=280)


def _entropy_axis() -> alt.Axis:
    return alt.Axis(title="entropy of the answer, in nats", tickCount=6, format=".3~")


def _color(field: str = "outcome", *, legend: bool = True) -> alt.Color:
    scale = alt.Scale(domain=list(_OUTCOMES), range=["var(--series-1)", "var(--series-2)"])
    return alt.Color(f"{field}:N", scale=scale) if legend else alt.Color(f"{field}:N", scale=scale, legend=None)


def _ends(spread: Spread) -> dict[str, Any]:
    return {name: number(value) for name, value in zip(_QUANTILES, spread.quantiles, strict=True)} | {"n": spread.n}


def _boxes(
    field: str, names: list[str], axis: alt.Axis, domain: alt.Scale, color: alt.Color, offset: alt.YOffset | None = None
) -> list[alt.Chart]:
    """Boxes lying down: a thin line from the 5th to the 95th percentile, a thick one over the middle half, a mark."""
    y = alt.Y(f"{field}:N", sort=names, axis=alt.Axis(title=None, labelLimit=150, labelFontSize=12, grid=False))
    base = main().encode(y=y, color=color, tooltip=_tooltip(field))
    base = base if offset is None else base.encode(yOffset=offset)
    return [
        base.mark_rule(strokeWidth=1.5).encode(x=alt.X("lowest:Q", axis=axis, scale=domain), x2="highest:Q"),
        base.mark_bar(height=9, opacity=0.55).encode(x="lower:Q", x2="upper:Q"),
        base.mark_tick(thickness=3, size=13, opacity=1).encode(x="middle:Q"),
    ]


def _tooltip(field: str) -> list[alt.Tooltip]:
    titles = ("5 %", "25 %", "median", "75 %", "95 %")
    quantiles = [
        alt.Tooltip(f"{name}:Q", title=title, format=".3~") for name, title in zip(_QUANTILES, titles, strict=True)
    ]
    return [alt.Tooltip(f"{field}:N"), *quantiles, alt.Tooltip("n:Q", title="images", format=",")]


def layer_charts(results: Results) -> Iterator[Drawing]:
    """Boxes of what a signal reads in each layer, one for each condition; a chart for each such signal."""
    found = () if results.figures is None else results.figures.layers
    names = condition_names(results)
    for at, signal in enumerate(list(dict.fromkeys(row.signal for row in found))[:_MOST_LAYERED]):
        own = [row for row in found if row.signal == signal and row.spread.n]
        rows: Rows = [
            {"layer": row.layer, "condition": names.get(row.condition, row.condition), **_ends(row.spread)}
            for row in own
        ]
        layers, shown = (list(dict.fromkeys(row[key] for row in rows)) for key in ("layer", "condition"))
        axis = alt.Axis(title=f"{signal} of one layer, in {own[0].unit}", tickCount=6, format=".3~")
        color = alt.Color("condition:N", scale=alt.Scale(domain=shown), legend=alt.Legend(columns=3))
        offset = alt.YOffset("condition:N", sort=shown)
        chart = alt.layer(*_boxes("layer", layers, axis, alt.Scale(zero=False), color, offset))
        text = f"{signal}: quantiles in {len(layers)} layers under {', '.join(shown)}."
        yield Drawing.of(f"layers-{at}", text, chart, rows, height=(15 * len(shown) + 10) * len(layers) + 60)
