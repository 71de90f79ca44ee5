"""What is left of all images at each step to an answer, and what each step loses."""

from collections.abc import Iterator
from typing import Any

import altair as alt

from demur.analysis.accuracy.coverage_steps import ConditionStep, CoverageLoss, CoverageStep
from demur.analysis.results import Results
from demur.report.charts.chart_theme import Drawing, Rows, main, number, share_axis
from demur.report.phrases import percent, readable

ANSWERED = "answered"
_PARTS = (ANSWERED, "lost to the model", "lost to the signal", "lost to few labels", "lost to poor images")
_LEVERS = dict(zip(("model", "signal", "labels", "camera"), _PARTS[1:], strict=True))
_MOST = 8
_ROW = 30


def coverage_chart(results: Results) -> Drawing | None:
    """One bar for each step: what is answered, and beside it what the step itself took away."""
    found = results.coverage_loss
    if found is None:
        return None
    rows = [*_steps(found), *_conditions(found, results)]
    names = list(dict.fromkeys(row["step"] for row in rows))
    present = [part for part in _PARTS if any(row["part"] == part for row in rows)]
    y = alt.Y(
        "step:N", sort=names, axis=alt.Axis(title=None, labelLimit=150, labelFontSize=12, grid=False, domain=False)
    )
    x = alt.X("low:Q", axis=share_axis("of the images"), scale=alt.Scale(domain=[0, 1]))
    tooltip = [
        alt.Tooltip("step:N"),
        alt.Tooltip("part:N"),
        alt.Tooltip("share:Q", format=".1%"),
        alt.Tooltip("count:Q", title="images", format=","),
    ]
    base = main().encode(y=y)
    colour = alt.Color("part:N", scale=alt.Scale(domain=present), legend=alt.Legend(columns=2, symbolType="square"))
    bars = base.mark_bar(height=16).encode(x=x, x2="high:Q", color=colour, tooltip=tooltip)
    labels = base.transform_filter(f"datum.part === '{ANSWERED}'").mark_text(
        align="left", dx=6, style="label", fontSize=12, baseline="middle"
    )
    chart = alt.layer(bars, labels.encode(x="end:Q", text="said:N"))
    text = "Bars of the share of images answered: " + "; ".join(
        f"{row['step']} {row['said']}" for row in rows if row["said"]
    )
    return Drawing.of("coverage-steps", text, chart, rows, height=_ROW * len(names) + 20)


def _steps(found: CoverageLoss) -> Iterator[dict[str, Any]]:
    for step in found.steps:
        lost = max(0, step.lost)
        yield from _bar(_name(step, found), step.images, lost, found.n, _LEVERS.get(step.lever or "", ""))


def _name(step: CoverageStep, found: CoverageLoss) -> str:
    names = {"all": "all images", "perfect_order": "perfect order", "signal": f"best of {found.signal}"}
    return names.get(step.name, "certified" if found.issued else "nothing certified")


def _conditions(found: CoverageLoss, results: Results) -> Iterator[dict[str, Any]]:
    """The hardest condition of each family, since it loses most."""
    hardest: dict[str, tuple[float, ConditionStep]] = {}
    rows = {row.condition: row for row in results.conditions}
    for step in found.conditions:
        row = rows[step.condition]
        if row.severity >= hardest.get(row.family, (-1.0, step))[0]:
            hardest[row.family] = (row.severity, step)
    for family, (severity, step) in list(hardest.items())[:_MOST]:
        level = f" {severity:g}" if step.kind == "corruption" and severity else ""
        lost = max(0, step.clean - step.images)
        yield from _bar(f"{readable(family)}{level}", step.images, lost, step.n, _LEVERS[step.lever])


def _bar(name: str, images: int, lost: int, n: int, why: str) -> Rows:
    """The answered part, and what was lost beside it."""
    end = (images + lost) / n
    found = [_part(name, ANSWERED, 0.0, images / n, images, end, percent(images / n))]
    return [*found, _part(name, why, images / n, end, lost, end, "")] if lost else found


def _part(name: str, part: str, low: float, high: float, images: int, end: float, said: str) -> dict[str, Any]:
    ends = {"low": number(low), "high": number(high), "end": number(end), "share": number(high - low)}
    return {"step": name, "part": part, "count": images, "said": said, **ends}
