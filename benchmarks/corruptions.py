"""The 15 common corruptions beside imagecorruptions-imaug, in one process, and how the deterministic ones differ.

The peer takes one 8-bit image at a time, demur the whole batch. Each is handed them in the memory layout it works in
(height × width × channels in bytes, channels × height × width in floats), and is imported, before the clock starts.
Runs alternate; a time is the least of several, in milliseconds per image: elapsed, and of the processor, all threads
of this process together. Everyone has one thread unless told otherwise; the peer has no use for more in most of its
corruptions.

    pip install imagecorruptions-imaug && python benchmarks/corruptions.py [--quick] [--severity S] [--side N]
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from demur.metrics.corruption_error import ALEXNET
from demur.randomness import Keys
from demur.registry import resolve

DETERMINISTIC = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
INSTALL = "pip install imagecorruptions-imaug"


def pictures(rows: int, side: int) -> Tensor:
    """Smooth colours with sharp edges, in 8 bits."""
    draw = np.random.default_rng(0)
    smooth = gaussian_filter(draw.normal(size=(rows, 3, side, side)), (0, 0, side / 20, side / 20))
    scaled = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    scaled[:, :, side // 4 : side // 2, side // 3 : side // 2] = draw.uniform(size=(rows, 3, 1, 1))
    return torch.from_numpy((scaled * 255).round().astype(np.float32) / 255)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Elapsed and processor seconds."""
    began, spent = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - spent


def peer(name: str, x: Tensor, severity: int) -> Callable[[], list[np.ndarray]] | None:
    if find_spec("imagecorruptions") is None:
        return None
    from imagecorruptions import corrupt

    pixels = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return lambda: [corrupt(image, corruption_name=name, severity=severity) for image in pixels]


def limit(threads: int) -> None:
    torch.set_num_threads(threads)
    if find_spec("cv2") is not None:
        import cv2

        cv2.setNumThreads(threads)


def measure(name: str, x: Tensor, severity: int, repeats: int) -> dict[str, float]:
    """The least of alternated runs in milliseconds per image, and the mean difference where both are deterministic."""
    corruption, keys = resolve("corruption", name)(severity=severity), Keys.of(0, list(map(str, range(len(x)))), name)
    ours, theirs = (lambda: corruption(x, keys)), peer(name, x, severity)
    found = ours()
    kinds = {"ours": ours} | ({"theirs": theirs} if theirs else {})
    runs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    if theirs:
        other = torch.from_numpy(np.stack(theirs())).permute(0, 3, 1, 2) / 255
    for _ in range(repeats):
        for kind, work in kinds.items():
            runs[kind].append(timed(work))
    row = {}
    for kind, times in runs.items():
        row[kind], row[f"{kind}_cpu"] = (min(part) * 1000 / len(x) for part in zip(*times, strict=True))
    if theirs and name in DETERMINISTIC:
        row["difference"] = float((found - other).abs().mean())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one run of four images, under a minute")
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rows", type=int, help="images in the batch, 16 unless quick")
    parser.add_argument("--repeats", type=int, help="alternated runs, 5 unless quick")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    limit(given.threads)
    rows, repeats = given.rows or (4 if given.quick else 16), given.repeats or (1 if given.quick else 5)
    x = pictures(rows, given.side)
    print(f"{rows} images of {given.side} pixels, severity {given.severity}, {torch.get_num_threads()} threads")
    print(f"{'ms per image':20}{'demur':>9}{'peer':>9}{'elapsed':>9}{'processor':>11}  mean difference")
    table = {name: measure(name, x, given.severity, repeats) for name in ALEXNET}
    total = {kind: sum(row.get(kind, 0.0) for row in table.values()) for kind in next(iter(table.values()))}
    for name, row in {**table, "all 15": {k: v for k, v in total.items() if k != "difference"}}.items():
        print(f"{name:20}{row['ours']:9.2f}" + (ratio_to_peer(row) if "theirs" in row else ""))
    summary = {"side": given.side, "rows": rows, "severity": given.severity, "threads": torch.get_num_threads()}
    if "theirs" in total:
        summary |= {"times_faster": round(ratio(total, ""), 2), "times_faster_cpu": round(ratio(total, "_cpu"), 2)}
    else:
        print(f"Without the peer there is nothing to compare with. Install it: {INSTALL}")
    print(json.dumps({**summary, "total": rounded(total), "corruptions": {k: rounded(v) for k, v in table.items()}}))


def ratio_to_peer(row: dict[str, float]) -> str:
    apart = f"{row['difference']:17.4f}" if "difference" in row else ""
    ratios = f"{ratio(row, ''):8.1f}×{ratio(row, '_cpu'):10.1f}×"
    return f"{row['theirs']:9.2f}{ratios}{apart}"


def ratio(row: dict[str, float], clock: str) -> float:
    return row[f"theirs{clock}"] / row[f"ours{clock}"]


def rounded(row: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in row.items() if name != "difference" or value < 1}


if __name__ == "__main__":
    main()
