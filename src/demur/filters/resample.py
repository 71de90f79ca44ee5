"""Resampling: fewer pixels and back."""

from torch.nn.functional import interpolate

from demur.shapes import Images


def resample(x: Images, scale: float = 0.5) -> Images:
    """The images made smaller by `scale` and as large as before again, both bilinear, shrunk with antialiasing."""
    height, width = x.shape[2:]
    small = (max(1, round(height * scale)), max(1, round(width * scale)))
    return resize(resize(x, small), (height, width))


def resize(x: Images, size: tuple[int, int]) -> Images:
    """Bilinear resizing to (height, width), antialiased where it shrinks, as Pillow's `BILINEAR`."""
    return interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
