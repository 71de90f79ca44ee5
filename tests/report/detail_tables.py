"""Plausible tables below the first screen: confusion, calibration, policies, gallery."""

import base64
import io
import math

import numpy as np
from PIL import Image, ImageDraw

from demur.analysis.accuracy.chart_data import Bin, CalibrationTable, GalleryImage
from demur.analysis.signals.decision_tables import PolicyRow
from tests.report.simulated_scores import SEEN, near, share, undefined

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
RIGHT = (0.86, 0.98, 0.85, 0.91, 0.86, 0.98, 0.71, 0.96, 0.98, 0.96)


def confusion():
    table = np.diag([round(401 * right) for right in RIGHT])
    for true, right in enumerate(RIGHT):
        for step in (1, 2, 4):
            table[true][(true + step) % 10] += round(401 * (1 - right)) // 3
    return tuple(tuple(int(v) for v in row) for row in table)


def calibration():
    edges = np.linspace(0, 1, 16)
    bins = []
    for at in range(15):
        n = 0 if at < 4 else int(20 * math.exp(0.5 * (at - 4)))
        confidence = (edges[at] + edges[at + 1]) / 2
        accuracy = share(max(0.1, confidence - 0.05), n) if n else undefined("no image in this bin")
        bins.append(
            Bin(low=edges[at], high=edges[at + 1], n=n, confidence=confidence if n else math.nan, accuracy=accuracy)
        )
    return CalibrationTable(
        ece=near(0.0214, 0.004, 10000), nll=near(0.244, 0.009, 10000), brier=near(0.126, 0.005, 10000), bins=tuple(bins)
    )


def policies():
    rows = []
    for policy in ("certified(risk=0.02)", "rule(confidence=0.6, entropy=1.0)"):
        for name, n, right in (
            ("clean", SEEN, 0.921),
            ("gaussian_noise(severity=3)", SEEN, 0.74),
            ("pgd(eps=0.1)", 1500, 0.11),
        ):
            none_left = name.startswith("pgd") and policy.startswith("rule")
            rows.append(
                PolicyRow(
                    policy=policy,
                    condition=name,
                    n=n,
                    accuracy=share(right, n),
                    flagged=share(0.299, n),
                    accuracy_unflagged=share(min(0.988, right + 0.06), n),
                    accuracy_flagged=undefined("no image was flagged") if none_left else share(0.76 * right, n),
                    errors_caught=share(0.89, n),
                    balanced_accuracy=share(0.83, n),
                    precision=share(0.24, n),
                    fpr=share(0.31, n),
                    splits=("test",),
                )
            )
    return tuple(rows)


def thumb(at):
    picture = Image.new("L", (28, 28), 8)
    draw = ImageDraw.Draw(picture)
    sleeve = 3 + at % 6
    draw.polygon(
        [
            (9, 3),
            (19, 3),
            (26 - at % 4, sleeve + 5),
            (22, sleeve + 8),
            (20, 10),
            (20, 25),
            (8, 25),
            (8, 10),
            (6, sleeve + 8),
            (2 + at % 4, sleeve + 5),
        ],
        fill=120 + 5 * at,
    )
    draw.line([(14, 4), (14, 25)], fill=60)
    out = io.BytesIO()
    picture.resize((56, 56), Image.Resampling.BICUBIC).save(out, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def gallery(guaranteed):
    return tuple(
        GalleryImage(
            sample_id=f"fashion/test/{1709 + 37 * at:05d}",
            label=CLASSES[(3 * at) % 10],
            predicted=CLASSES[(3 * at + 6) % 10],
            confidence=0.9994 - at * 0.004,
            is_answered=at < 18 if guaranteed else None,
            thumb=thumb(at),
        )
        for at in range(24)
    )
