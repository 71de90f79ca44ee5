"""Picture files: which there are, what they are called, and what is in them."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demur.data.listed import reason
from demur.data.pictures import Decoded, opened
from demur.data.rules import Rules
from demur.errors import DataError

_SUFFIXES = {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""What is taken from a folder; a file named by itself may be called as it likes."""

_LONGEST = 100


@dataclass(frozen=True)
class Picture:
    """A file, and what the files written of it begin with."""

    path: Path
    stem: str

    def content(self) -> bytes:
        """The bytes of the file; an `OSError` says why there are none."""
        if not self.path.is_file():  # a pipe or device would wait for ever
            raise OSError("not a regular file")
        return self.path.read_bytes()

    def read(self, rules: Rules) -> tuple[Decoded, str]:
        """The image or the reason why there is none, and a hash of the file, by which noise is drawn."""
        try:
            content = self.content()
        except OSError as error:
            return (None, f"cannot read the file: {reason(error)}"), ""
        return opened(content, rules.channels, rules), hashlib.sha256(content).hexdigest()


def find(paths: Sequence[Path], out: Path) -> tuple[Picture, ...]:
    """The pictures at some paths, those of a folder sorted; what lies in `out` was written here and is left out.

    Raises:
        DataError: a path leads nowhere, or a folder has no pictures.
    """
    found = dict.fromkeys(file for path in paths for file in _files(path, out.resolve()))
    return tuple(
        Picture(file, stem) for file, stem in zip(found, _unique([slug(file.stem) for file in found]), strict=True)
    )


def slug(text: str) -> str:
    """A file name for a name.

    >>> slug("smooth_grad(n=10, sigma=0.1)")
    'smooth_grad-n-10-sigma-0.1'
    """
    return re.sub(r"[^\w.]+", "-", text).strip("-.")[:_LONGEST] or "image"


def _files(path: Path, out: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_picture(file.relative_to(path)))
        files = [file for file in files if not file.resolve().is_relative_to(out)]
        if not files:
            raise DataError(f"the folder {path} holds no pictures; looked for {', '.join(sorted(_SUFFIXES))} in it.")
        return files
    if not path.exists():
        raise DataError(
            f"there is no file or folder {path}. Check the path; images are picture files or folders of them."
        )
    return [path]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _unique(names: Sequence[str]) -> list[str]:
    """The same names, a number added to those there before; capitals alone are no difference on some disks."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        number, free = 1, name
        while free.lower() in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free.lower())
        found.append(free)
    return found
