"""Every condition as a bar: how many answers are right, and how many images a signal abstains on."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import altair as alt

from demur.analysis.accuracy.overall import ConditionRow
from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.report.charts.chart_theme import Drawing, inline, main, number, share_axis
from demur.report.charts.score_charts import first_signal
from demur.report.phrases import readable, size_of
from demur.report.short_titles import title

_MOST = 40
_LINE, _FRAME, _LABEL = 19, 46, 190
_KINDS = {"clean": "as they are", "corruption": "corrupted", "attack": "attacked"}


def accuracy_bars(results: Results) -> Drawing | None:
    """A bar of accuracy for every condition; of more than 40 the hardest of each family."""
    rows = [_row(row, name, row.accuracy) for row, name in _named(results)]
    if len(rows) < 2:
        return None
    text = f"Bars of the share of right answers under {len(rows)} conditions; numbers in the table."
    return _bars("accuracy-conditions", text, "answers that are right", rows)


def rejection_bars(results: Results) -> Drawing | None:
    """How many images one signal abstains on under every condition; the line is its rate on clean tune images."""
    if not results.rejections or not results.histograms:
        return None
    shown = first_signal(results)
    found = next((row for row in results.rejections if row.signal == shown), results.rejections[0])
    named = [(row, name) for row, name in _named(results) if row.condition in found.abstention_rates]
    rows = [_row(row, name, found.abstention_rates[row.condition]) for row, name in named]
    text = f"Bars of the share of images that {found.signal} abstains on under {len(rows)} conditions."
    return _bars("rejections", text, f"images that {found.signal} abstains on", rows, found.clean_rate)


def condition_names(results: Results, rows: Sequence[ConditionRow] | None = None) -> dict[str, str]:
    """The short name of every condition: what the audit called it, else its family and how hard it is.

    Where two would be alike it is the canonical name.
    """
    rows = results.conditions if rows is None else rows
    norms = {attack.condition: attack.norm for attack in results.attacks}
    short = {
        row.condition: title(row, results) if row.condition in results.titles else _short(row, norms.get(row.condition))
        for row in rows
    }
    times = Counter(short.values())
    return {name: text if times[text] == 1 else name for name, text in short.items()}


def _short(row: ConditionRow, norm: str | None) -> str:
    if row.kind == "clean" or not row.severity:
        return readable(row.family)
    level = size_of(row.severity, norm or "linf") if row.kind == "attack" else f"{row.severity:g}"
    return f"{readable(row.family)} {level}"


def _named(results: Results) -> list[tuple[ConditionRow, str]]:
    rows = list(results.conditions)
    if len(rows) > _MOST:
        hardest: dict[tuple[str, str], ConditionRow] = {}
        for row in rows:
            place = (row.kind, row.family)
            if row.severity >= hardest.get(place, row).severity:
                hardest[place] = row
        rows = list(hardest.values())[:_MOST]
    names = condition_names(results, rows)
    return [(row, names[row.condition]) for row in rows]


def _row(row: ConditionRow, name: str, found: Quantity) -> dict[str, Any]:
    ends = {"share": number(found.value), "low": number(found.low), "high": number(found.high)}
    return {"name": name, "pictures": f"condition:{row.condition}", "kind": _KINDS[row.kind], "n": found.n, **ends}


def _bars(
    name: str, text: str, title: str, rows: Sequence[dict[str, Any]], level: float | None = None
) -> Drawing | None:
    names = [row["name"] for row in rows]
    axis = alt.Axis(title=None, labelLimit=_LABEL, labelFontSize=12, grid=False, domain=False)
    base = main().encode(
        y=alt.Y("name:N", sort=names, axis=axis),
        tooltip=[
            alt.Tooltip("name:N", title="condition"),
            alt.Tooltip("share:Q", title=title, format=".1%"),
            alt.Tooltip("low:Q", title="from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
            alt.Tooltip("n:Q", title="images", format=","),
        ],
    )
    kinds = alt.Scale(domain=[kind for kind in _KINDS.values() if any(row["kind"] == kind for row in rows)])
    x = alt.X("share:Q", axis=share_axis(title), scale=alt.Scale(domain=[0, 1]))
    bars = base.mark_bar(height=11, cursor="pointer").encode(x=x, color=alt.Color("kind:N", scale=kinds))
    layers = [bars, base.mark_rule(strokeWidth=1.5, color="var(--ink)").encode(x="low:Q", x2="high:Q")]
    if level is not None:
        layers.append(inline([{"share": number(level)}]).mark_rule(style="random").encode(x="share:Q"))
    return Drawing.of(name, text, alt.layer(*layers), list(rows), height=_LINE * len(rows) + _FRAME)
