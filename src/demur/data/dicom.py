"""DICOM files: `dicom:FOLDER?window=40/400`, with classes by folder or by a table (`table=FILE.csv`).

Values are rescaled to the unit of the modality, mapped to [0, 1] by a window or by the full range of the stored bits,
and inverted where the file says that low is bright (MONOCHROME1). The group is the patient, by a hash of the PatientID.
NEMA PS3.3, C.7.6.3 and C.11.
"""

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demur.data.column_rows import Listing
from demur.data.compact_rows import CompactRows
from demur.data.csv_file import listed_files
from demur.data.decoded_list import DecodedListSource, decoded_list_source
from demur.data.decoding import Decoded, decode_picture, first_line
from demur.data.image_folder import class_folders
from demur.data.path_groups import is_pattern
from demur.data.source import path_of
from demur.data.table_columns import COLUMN_OPTIONS
from demur.errors import AddressError, DataError, brief, missing_extra
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.pictures.option_values import LARGEST_SIDE
from demur.registry import Address
from demur.registry.regular_files import MIB, content_of, reason

GROUPS: Mapping[str, str] = {"patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
"""What `group=` may be beside a pattern over paths or a column of the table."""

_LARGEST = 256 * MIB
_MOST_PIXELS = 3 * LARGEST_SIDE**2
_DEFLATED = "1.2.840.10008.1.2.1.99"
_EXTENDED = "1.2.840.10008.1.2.4.51"
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_COLOURED = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True, kw_only=True)
class Window:
    """What becomes black and white: a centre and a width in the unit of the modality, the file's own, or all of it."""

    centre: float | None = None
    width: float | None = None
    of_file: bool = False

    @classmethod
    def of(cls, text: str | None) -> "Window":
        """Read the option `window`: full (the default), file, or CENTRE/WIDTH.

        >>> Window.of("40/400")
        Window(centre=40.0, width=400.0, of_file=False)
        """
        if text in (None, "full", "file"):
            return cls(of_file=text == "file")
        match = re.fullmatch(r"(-?[0-9]+(?:\.[0-9]*)?)/([0-9]+(?:\.[0-9]*)?)", str(text))
        if match is None or float(match[2]) <= 1:
            raise AddressError(
                f"`window` must be full, file or CENTRE/WIDTH with a width above 1; got {brief(str(text))!r}. Write "
                "?window=40/400."
            )
        return cls(centre=float(match[1]), width=float(match[2]))

    @property
    def sentence(self) -> str:
        """What becomes black and white, in words.

        >>> Window.of("40/400").sentence
        'values of the modality in a window of width 400 around 40, MONOCHROME1 inverted'
        """
        if self.of_file:
            span = "in the first window of each file"
        elif self.centre is None:
            span = "over the full range of the stored bits"
        else:
            span = f"in a window of width {self.width:g} around {self.centre:g}"
        return f"values of the modality {span}, MONOCHROME1 inverted"


def open_source(address: Address) -> DecodedListSource:
    """Open a folder of DICOM files; ids are paths below it."""
    address.only(("window", "table", "image", "label", "classes", "split", *COLUMN_OPTIONS, *DECODE_OPTIONS))
    if find_spec("pydicom") is None:
        raise missing_extra("DICOM files", "dicom")
    root, options = path_of(address), address.options
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; expected one of DICOM files. Check the path.")
    kind = options.get("group", "patient")
    plain = {name: text for name, text in options.items() if name != "group" or not (kind in GROUPS or kind == "none")}
    found = listed_files(root / plain["table"], root, plain) if "table" in plain else _by_folder(root, plain, kind)
    if kind in GROUPS:
        found = replace(found, rows=_grouped(root, found, GROUPS[kind]))
    window = Window.of(options.get("window"))
    decode = partial(_decode, root, found.names, window)
    return decoded_list_source(address.text, found.classes, found.rows, decode, Rules.of(options), window.sentence)


def _by_folder(root: Path, options: Mapping[str, str], group: str) -> Listing:
    """Classes by folder; the directory that lists the files of a medium is none of them."""
    for option in ("image", "label", *COLUMN_OPTIONS):
        if option in options and not (option == "group" and is_pattern(group)):
            raise AddressError(f"`{option}` names a column and needs a table. Write ?table=FILE.csv&{option}=….")
    found = class_folders(root, options)
    return found.only(np.flatnonzero([Path(name).name != "DICOMDIR" for name in found.names]))


def _grouped(root: Path, found: Listing, tag: str) -> CompactRows:
    """The rows with their groups; a group that the table of the set names wins."""
    return CompactRows.of(
        row if row.group is not None else replace(row, group=_group(root / name, tag))
        for name, row in zip(found.names, found.rows, strict=True)
    )


def _group(path: Path, tag: str) -> str | None:
    """The hash of what a file says of its patient, study or series: the same for the same, and no name."""
    try:
        named = str(_head(path, [tag]).get(tag, "") or "").strip()
    except Exception:  # noqa: BLE001 - a damaged file may raise anything; as an image it is a row with the reason
        return None
    return hashlib.sha256(f"{tag}\x1f{named}".encode()).hexdigest()[:16] if named else None


def _head(path: Path, tags: Sequence[str]) -> Any:
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags))


def _decode(
    root: Path, names: Sequence[str], window: Window, position: int, channels: int | None, rules: Rules
) -> Decoded:
    """The image of a file, or the reason why there is none."""
    path = root / names[position]
    try:
        size = len(content_of(path, _LARGEST))
    except OSError as error:
        return None, f"cannot read the file: {reason(error)}"
    if not size:
        return None, "no image bytes"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _image_of(path, window, channels, rules)
    except Exception as error:  # noqa: BLE001 - a damaged file may raise anything in a decoder
        return None, f"cannot decode the DICOM file: {first_line(error)}"


def _image_of(path: Path, window: Window, channels: int | None, rules: Rules) -> Decoded:
    import pydicom

    syntax = str(getattr(_head(path, []).file_meta, "TransferSyntaxUID", ""))
    if syntax == _DEFLATED:
        return None, "a deflated DICOM file, which may unpack to any size; save it as explicit VR little endian"
    file = pydicom.dcmread(path)
    refusal = _refusal(file, syntax)
    if refusal is not None:
        return None, refusal
    from pydicom.pixels import pixel_array

    values = pixel_array(file)
    if str(file.PhotometricInterpretation) in _COLOURED:
        return decode_picture(Image.fromarray(np.ascontiguousarray(values)), channels, rules)
    shown = in_window(values, file, window)
    if shown is None:
        return None, "no window in the file; leave window=file out, or name one: ?window=CENTRE/WIDTH"
    return decode_picture(Image.fromarray(shown), channels, replace(rules, full_scale=1.0))


def _refusal(file: Any, syntax: str) -> str | None:
    """Why a file is no single grey or colour image that can be decoded."""
    if "PixelData" not in file:
        return "a DICOM file without pixels"
    kind, bits = str(file.get("PhotometricInterpretation", "")), int(file.get("BitsAllocated", 0))
    frames = int(file.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        return f"{frames} frames in one DICOM file; save each as a file of its own, with the patient as the group"
    if int(file.Rows) * int(file.Columns) > _MOST_PIXELS:
        return (
            f"an image of {int(file.Rows) * int(file.Columns):,} pixels, more than the {_MOST_PIXELS:,} that are read"
        )
    if kind in _COLOURED and bits != 8:
        return f"{bits} bits per colour; save it with 8"
    if kind not in (*_MONOCHROME, *_COLOURED):
        return f"the colours of {kind or 'no'} photometric interpretation are not read; save it as RGB or as grey"
    if syntax == _EXTENDED and int(file.get("BitsStored", 0)) > 8:
        return (
            "12-bit JPEG Extended (1.2.840.10008.1.2.4.51), which no decoder here reads; convert it, for instance with "
            "dcmdjpeg of DCMTK"
        )
    return None


def in_window(values: NDArray[Any], file: Any, window: Window) -> NDArray[np.float32] | None:
    """Stored values as shares of black to white, in [0, 1]; None where the file has no window and its own is wanted.

    Args:
        values: as stored.
        file: what the file says of them.
        window: what becomes black and white.
    """
    slope, intercept = (float(file.get(name, usual)) for name, usual in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    physical = values.astype(np.float64) * slope + intercept
    centre, width = window.centre, window.width
    if window.of_file:
        centre, width = (_first(file.get(name)) for name in ("WindowCenter", "WindowWidth"))
        if centre is None or width is None or width <= 1:
            return None
    if centre is None or width is None:
        ends = sorted(value * slope + intercept for value in stored_range(file))
        share = (physical - ends[0]) / ((ends[1] - ends[0]) or 1)
    else:
        share = (physical - (centre - 0.5)) / (width - 1) + 0.5  # C.11.2.1.2.1, linear
    inside = np.clip(share, 0, 1)
    return np.asarray(1 - inside if str(file.PhotometricInterpretation) == "MONOCHROME1" else inside, np.float32)


def stored_range(file: Any) -> tuple[int, int]:
    """The smallest and the largest value that the stored bits can hold."""
    bits = int(file.BitsStored)
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if int(file.PixelRepresentation) else (0, (1 << bits) - 1)


def _first(value: Any) -> float | None:
    """A number, or the first of several."""
    if value is None or value == "":
        return None
    return float(value) if not isinstance(value, Sequence) else float(value[0]) if value else None
