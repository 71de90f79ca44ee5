"""What the model says of its own accuracy against what is true."""

import math

import altair as alt

from demur.analysis.results import Results
from demur.report.charts.drawing import Drawing, inline, main, number, share_axis
from demur.report.charts.theme import MEASURED


def reliability(results: Results) -> Drawing:
    """Accuracy with its interval against stated confidence, the count of images under each point."""
    rows = [
        {
            "confidence": number(bin_.confidence),
            "accuracy": number(bin_.accuracy.value),
            "low": number(bin_.accuracy.low),
            "high": number(bin_.accuracy.high),
            "n": bin_.n,
        }
        for bin_ in results.calibration.bins
        if bin_.n and not math.isnan(bin_.accuracy.value)
    ]
    x = alt.X("confidence:Q", axis=share_axis("stated confidence"), scale=alt.Scale(domain=[0, 1.02], nice=False))
    y = alt.Y("accuracy:Q", axis=share_axis("answers that are right"), scale=alt.Scale(domain=[0, 1.02], nice=False))
    base = main().encode(x=x)
    ends = inline([{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])
    tooltip = [
        alt.Tooltip("confidence:Q", format=".1%"),
        alt.Tooltip("accuracy:Q", format=".1%"),
        alt.Tooltip("n:Q", title="images", format=","),
    ]
    chart = alt.layer(
        ends.mark_line(style="diagonal").encode(x=x, y=y),
        base.mark_rule(style="spread").encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(opacity=1, **MEASURED).encode(y=y, tooltip=tooltip),
        base.mark_text(style="label", angle=270, align="left", fontSize=11).encode(
            y=alt.datum(0.02), text=alt.Text("n:Q", format=",")
        ),
    )
    text = f"Reliability diagram of {len(rows)} bins: share of right answers against stated confidence."
    return Drawing.of("reliability", text, chart, rows, height=340)
