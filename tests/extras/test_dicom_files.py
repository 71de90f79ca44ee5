"""DICOM files that pydicom wrote, or brings along, are the images it reads, with their patients apart."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from demur.data import build_index, open_data
from demur.errors import AddressError, DataError
from demur.testing import check_data

pydicom = pytest.importorskip("pydicom")

from pydicom.data import get_testdata_file  # noqa: E402 - only where it is installed
from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid  # noqa: E402

VALUES = np.random.default_rng(0).integers(0, 4096, (8, 10, 12), dtype=np.uint16)


def write(path, values, *, patient="P1", **tags):
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.PatientID, file.StudyInstanceUID = patient, generate_uid()
    colour = values.ndim == 3
    plain = {
        "Rows": values.shape[0], "Columns": values.shape[1], "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2", "PixelRepresentation": 0,
        "BitsAllocated": 8 * values.itemsize, "BitsStored": 8 if values.itemsize == 1 else 12,
    }  # fmt: skip
    for name, value in (plain | ({"PlanarConfiguration": 0} if colour else {}) | tags).items():
        setattr(file, name, value)
    file.HighBit = file.BitsStored - 1
    file.PixelData = values.tobytes()
    file.save_as(path, enforce_file_format=True)


@pytest.fixture
def scans(tmp_path):
    for number, values in enumerate(VALUES):
        turned = {"PhotometricInterpretation": "MONOCHROME1"} if number == 3 else {}
        write(tmp_path / ("sick" if number % 2 else "well") / f"{number}", values, patient=f"P{number // 2}", **turned)
    return tmp_path


def test_folders_are_classes_and_patients_groups(scans):
    (scans / "DICOMDIR").write_bytes(b"x")
    (scans / "well" / "DICOMDIR").write_bytes(b"x")
    source = open_data(f"dicom:{scans}")
    check_data(source)
    assert source.classes == ("sick", "well")
    assert source.input_shape == (1, 10, 12)
    for row in source.read(range(8)):
        number = int(Path(row.sample_id).name)
        share = VALUES[number].astype(np.float64) / 4095
        expected = 1 - share if number == 3 else share
        np.testing.assert_allclose(row.image[0], expected, atol=1e-6)
    groups = {Path(row.sample_id).name: row.group for row in source.read(range(8))}
    assert all(groups[str(number)] == groups[str(number + 1)] for number in (0, 2, 4, 6))
    assert len(set(groups.values())) == 4
    assert not any("P" in group for group in groups.values())


@pytest.mark.parametrize(("option", "groups"), [("none", 0), ("study", 8), ("[0-3]$", 4), ("series", 0)])
def test_groups_can_be_others(scans, option, groups):
    for path in scans.rglob("*"):
        if path.is_file() and option == "[0-3]$" and path.name > "3":
            path.unlink()
    source = open_data(f"dicom:{scans}?group={option}")
    found = [row.group for row in source.read(range(len(source)))]
    assert len(set(found) - {None}) == groups


def test_a_table_has_the_labels(scans):
    lines = [f"{'sick' if n % 2 else 'well'}/{n},{n % 3},{'site' if n < 4 else ''}" for n in range(8)]
    (scans / "labels.csv").write_text("path,label,group\n" + "\n".join(lines))
    rows = list(open_data(f"dicom:{scans}?table=labels.csv").read(range(8)))
    assert [row.label for row in rows] == [n % 3 for n in range(8)]
    assert {row.group for row in rows[:4]} == {"site"}
    assert len({row.group for row in rows[4:]}) == 2
    with pytest.raises(AddressError, match="`label` names a column and needs a table"):
        open_data(f"dicom:{scans}?label=finding")


def test_colour_and_scaling_follow_the_rules(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (4, 10, 12, 3), dtype=np.uint8)
    for number, values in enumerate(pixels):
        write(tmp_path / f"{number % 2}" / f"{number}", values)
    source = open_data(f"dicom:{tmp_path}")
    row = next(source.read([0]))
    assert torch.equal(row.image, torch.from_numpy(pixels[0]).permute(2, 0, 1).float() / 255)
    assert open_data(f"dicom:{tmp_path}?size=4&colour=grey").input_shape == (1, 4, 4)


def test_a_window_of_the_address_and_of_the_file(scans):
    for path in scans.rglob("*"):
        if path.is_file():
            file = pydicom.dcmread(path)
            file.WindowCenter, file.WindowWidth = 2000, 1000
            file.save_as(path)
    named, own = (next(open_data(f"dicom:{scans}?window={each}").read([0])).image for each in ("2000/1000", "file"))
    assert torch.equal(named, own)
    assert float((own == 0).float().mean()) > 0.3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("JPGExtended.dcm", "12-bit JPEG Extended"),
        ("image_dfl.dcm", "a deflated DICOM file"),
        ("SC_rgb_rle_2frame.dcm", "2 frames in one DICOM file"),
        ("SC_rgb_rle_16bit.dcm", "16 bits per colour"),
        ("examples_palette.dcm", "PALETTE COLOR photometric interpretation"),
        ("rtplan.dcm", "without pixels"),
        ("JPEGLSNearLossless_08.dcm", "cannot decode the DICOM file"),
    ],
)
def test_what_cannot_be_read_is_a_row_with_the_reason(scans, name, says):
    place = get_testdata_file(name, download=False)
    if place is None:
        pytest.skip(f"this pydicom does not bring {name} along")
    shutil.copy(place, scans / "sick" / "odd")
    (scans / "well" / "text").write_text("no DICOM file")
    (scans / "well" / "empty").write_bytes(b"")
    index = build_index(open_data(f"dicom:{scans}"))
    errors = {Path(name).name: error for name, error in zip(index.sample_ids, index.errors, strict=True) if error}
    assert says in errors["odd"]
    assert errors["text"].startswith("cannot decode the DICOM file: File is missing DICOM File Meta")
    assert errors["empty"] == "no image bytes"
    assert len(errors) == 3


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_what_pydicom_decodes_is_what_is_read(tmp_path, name):
    place = get_testdata_file(name, download=False)
    if place is None:
        pytest.skip(f"this pydicom does not bring {name} along")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(place, tmp_path / folder / "scan")
    row = next(open_data(f"dicom:{tmp_path}").read([0]))
    assert row.error is None
    file = pydicom.dcmread(place)
    values = file.pixel_array
    if values.ndim == 3:
        expected = values.transpose(2, 0, 1) / 255
    else:
        span = 2**file.BitsStored - 1
        low = -(2 ** (file.BitsStored - 1)) if file.PixelRepresentation else 0
        expected = (values[None].astype(np.float64) - low) / span
    np.testing.assert_allclose(row.image.numpy(), expected, atol=1e-6)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        open_data(f"dicom:{tmp_path / 'none'}")
