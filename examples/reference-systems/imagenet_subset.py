"""A table of the images of 50 or 100 classes of ImageNet and what each serves, as system 004 had them but for one part.

python examples/reference-systems/imagenet_subset.py imagenet 50 images.csv

The folder holds `train/SYNSET/` and `val/SYNSET/`. `train`: the first 500 images of a class, or with 100 classes all
but the last 150, teach the net. `val`: 50 behind them choose thresholds. `test`: the 50 of `val/` judge. The system's
detectors learned from images that had taught the net; here they learn from others (`fit`), the first 200 or 100 behind
`train`. Tiny ImageNet has ten validation images of a class alone: four are `fit`, three `val` and three `test`.
"""

import csv
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

FIT, VAL = {50: 200, 100: 100}, 50
"""Images of a class, by the number of classes, that detectors learn from; and that choose thresholds."""
LEARNED = {50: 500, 100: -150}
"""Where the images of a class end that the net learns from."""
TINY = {"fit": 4, "val": 7, "test": 10}
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
        behind = images[end:]
        parts = {"train": images[:end], "fit": behind[: FIT[count]], "val": behind[FIT[count] :][:VAL]}
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
