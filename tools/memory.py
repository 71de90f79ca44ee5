"""Peak memory of looking through 1,000 and 10,000 images: it must not grow with their number.

    python tools/memory.py [--side 64]

Writes the images once as a folder and as a Parquet file, then indexes each in a process of its own and reads 1,000 rows
in random order. The last line is JSON: kilobytes by source and number of images.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

COUNTS = (1_000, 10_000)

READ = """
import random, resource, sys
from demur.data import build_index, open_data
source = open_data(sys.argv[1])
build_index(source)
for row in source.read(random.Random(0).sample(range(len(source)), 1000)):
    assert row.image is not None
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write(root: Path, count: int, side: int) -> dict[str, str]:
    """The same images in both forms, and their addresses."""
    dice = np.random.default_rng(0)
    contents = []
    for number in range(count):
        buffer = io.BytesIO()
        Image.fromarray(dice.integers(0, 256, (side, side, 3), np.uint8)).save(buffer, "JPEG", quality=90)
        contents.append(buffer.getvalue())
        path = root / f"folder-{count}" / f"{number % 10}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[-1])
    table = pl.DataFrame({"image": contents, "label": [number % 10 for number in range(count)]})
    table.write_parquet(root / f"{count}.parquet", row_group_size=1000)
    return {"folder": f"folder:{root / f'folder-{count}'}", "parquet": f"parquet:{root / f'{count}.parquet'}"}


def peak(address: str) -> int:
    """Kilobytes that a process of its own held at most."""
    answer = subprocess.run([sys.executable, "-c", READ, address], capture_output=True, text=True, check=True)  # noqa: S603  # our own words
    return int(answer.stdout)


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description="peak memory of looking through 1,000 and 10,000 images")
    parser.add_argument("--side", type=int, default=64, help="pixels of the square images")
    side = parser.parse_args().side
    peaks: dict[str, dict[int, int]] = {"folder": {}, "parquet": {}}
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS:
            for source, address in write(Path(folder), count, side).items():
                peaks[source][count] = peak(address)
    for source, found in peaks.items():
        sizes = ", ".join(f"{count:,} images {kilobytes / 1024:.0f} MB" for count, kilobytes in found.items())
        sys.stdout.write(f"{source}: {sizes}\n")
    sys.stdout.write(f"{json.dumps(peaks)}\n")


if __name__ == "__main__":
    main()
