"""Labels that are right by construction, wrong ones among them, films, and changes that make near-duplicates."""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KINDS = ("best", "noisy", "half blind", "hard class")
_MOST_AXES, _RIM = 20, 4


def cloud_answers(
    kind: str, classes: int, gap: float, rows: int, generator: np.random.Generator
) -> tuple[Floats, Ints]:
    """Logits (rows, classes) of a model that sees classes as clouds of points `gap` deviations apart, and labels.

    The best model sees all; a noisy one adds heavy-tailed noise, a half blind one misses half of the axes; where a
    class is hard, a third of it looks exactly like another.
    """
    axes = min(classes, _MOST_AXES)
    centres = generator.normal(0, gap / np.sqrt(axes), (classes, axes))
    labels = generator.integers(0, classes, rows)
    points = centres[labels] + generator.normal(0, 1, (rows, axes))
    if kind == "hard class":
        alike = (labels == 0) & (generator.uniform(size=rows) < 1 / 3)
        points[alike] += centres[1] - centres[0]
    visible = slice(axes // 2) if kind == "half blind" else slice(None)
    points, centres = points[:, visible], centres[:, visible]
    logits = points @ centres.T - np.square(centres).sum(axis=1) / 2
    return logits + (generator.standard_t(3, logits.shape) if kind == "noisy" else 0), labels


def mislabelled(
    labels: Ints, classes: int, share: float, generator: np.random.Generator
) -> tuple[Ints, NDArray[np.bool_]]:
    """A share of the labels replaced by another class, any of them alike, and which."""
    wrong = generator.uniform(size=len(labels)) < share
    return np.where(wrong, (labels + generator.integers(1, classes, len(labels))) % classes, labels), wrong


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Images (rows, channels, height, width) moved by whole pixels; what comes in repeats the edge."""
    height, width = images.shape[2:]
    wide = pad(images, (_RIM,) * 4, mode="replicate")
    return wide[:, :, _RIM - down : _RIM - down + height, _RIM - right : _RIM - right + width]


def saved_again(images: Tensor) -> Tensor:
    """As JPEG at quality 75, image by image."""
    return torch.stack([_jpeg(image) for image in images])


def _jpeg(image: Tensor) -> Tensor:
    pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "JPEG", quality=75)
    values = np.asarray(Image.open(buffer)).astype(np.float32) / 255
    return torch.from_numpy(values).reshape(pixels.shape).permute(2, 0, 1)


def films(images: Tensor, frames: int, generator: np.random.Generator) -> Tensor:
    """(rows · frames, …): each image moves by a random pixel from frame to frame, in light that flickers."""
    shown = []
    for image in images:
        place, light = np.zeros(2, int), generator.uniform(0.7, 1, frames)
        for frame in range(frames):
            place = np.clip(place + generator.integers(-1, 2, 2), -_RIM, _RIM)
            shown.append(float(light[frame]) * shifted(image[None], int(place[0]), int(place[1]))[0])
    return torch.stack(shown)
