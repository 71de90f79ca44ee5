"""A table of the images of 50 or 100 classes of ImageNet and what each serves, as system 004 had them but for one part.

python examples/reference-systems/imagenet_subset.py imagenet 50 images.csv

The folder holds `train/SYNSET/` and `val/SYNSET/`. `train`: the first 500 images of a class, or with 100 classes all
but the last 150, teach the net. The system's detectors learned from the same; here they learn from images that the net
has not seen, `fit`: the next 200 or 75. `tune`: 50 behind them choose thresholds. `certify`: up to 50 behind these bear
a guarantee. `test`: the 50 of `val/` judge. The ten images that Tiny ImageNet has of a class are shared out 4, 2, 1, 3.
"""

import csv
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

FIT, TUNE = {50: 200, 100: 75}, 50
"""Images of a class that detectors learn from, by the number of classes; that choose thresholds or bear a guarantee."""
LEARNED = {50: 500, 100: -150}
"""Where the images of a class end that the net learns from."""
TINY = {"fit": 4, "tune": 6, "certify": 7, "test": 10}
"""Where they end in Tiny ImageNet."""


def drawn(synsets: Sequence[str], count: int) -> list[str]:
    """Some classes at random, always the same."""
    return sorted(random.Random(0).sample(sorted(synsets), count))  # noqa: S311


def shared_out(folder: Path, count: int) -> Iterator[tuple[Path, str, str]]:
    """Path, class and split of each image of ImageNet."""
    classes = drawn([each.name for each in (folder / "train").iterdir()], count)
    end = LEARNED[count]
    for name in classes:
        images = sorted((folder / "train" / name).iterdir())
        fit, rest = images[end:][: FIT[count]], images[end:][FIT[count] :]
        parts = {"train": images[:end], "fit": fit, "tune": rest[:TUNE], "certify": rest[TUNE : 2 * TUNE]}
        parts["test"] = sorted((folder / "val" / name).iterdir())
        yield from ((path, name, split) for split, paths in parts.items() for path in paths)


def shared_out_tiny(folder: Path, count: int) -> Iterator[tuple[Path, str, str]]:
    """The same of Tiny ImageNet in its own layout."""
    lines = [line.split("\t") for line in (folder / "val/val_annotations.txt").read_text().splitlines()]
    for name in drawn((folder / "wnids.txt").read_text().split(), count):
        images, start = sorted(line[0] for line in lines if line[1] == name), 0
        for split, end in TINY.items():
            yield from ((folder / "val/images" / image, name, split) for image in images[start:end])
            start = end


def main() -> None:
    """Write the table."""
    source, count, target = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    rows = (shared_out_tiny if (source / "wnids.txt").is_file() else shared_out)(source, count)
    with target.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "split"))
        table.writerows((path.relative_to(source).as_posix(), name, split) for path, name, split in rows)


if __name__ == "__main__":
    main()
