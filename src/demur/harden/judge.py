"""What a trained classifier does with rows it has not learned from."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from demur.classifier import Classifier
from demur.data import Index, Source
from demur.harden.classwise import Scores, scores
from demur.harden.split import Rows
from demur.shapes import Images

BATCH = 128


@torch.inference_mode()
def judge(classifier: Classifier, source: Source, index: Index, rows: Rows) -> Scores | None:
    """Scores on some readable rows, in evaluation mode and on the images as they are; None where there are no rows."""
    if not len(rows):
        return None
    answers = [classifier.logits(images).argmax(dim=1) for images in _batches(source, index, rows)]
    predicted = torch.cat(answers).numpy()
    return scores(predicted, index.labels[rows], classifier.classes, _groups(index, rows))


def _batches(source: Source, index: Index, rows: Rows) -> Iterator[Images]:
    for start in range(0, len(rows), BATCH):
        positions = index.positions[rows[start : start + BATCH]].tolist()
        yield torch.stack([row.image for row in source.read(positions) if row.image is not None])


def _groups(index: Index, rows: Rows) -> NDArray[np.str_] | None:
    """The unit of each row; a row without a group is one of its own."""
    if index.group_count is None:
        return None
    return np.array([index.groups[row] or f"\x1f{index.sample_ids[row]}" for row in rows])
