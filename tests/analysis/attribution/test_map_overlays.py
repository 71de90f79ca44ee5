"""Pictures of maps are read back as data, in their order; what is missing is left out."""

import base64
import json

import pytest
from tests import tiny

from demur.analysis.attribution.map_tables import overlays
from demur.analysis.run_folder import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.run(tmp_path_factory.mktemp("overlays") / "run", conditions=("clean",))


def kept(folder, found):
    (folder / "facts" / "overlays.json").write_text(json.dumps(found))
    return Run(folder)


def test_a_run_without_pictures_has_none(folder):
    (folder / "facts" / "overlays.json").unlink(missing_ok=True)
    assert overlays(Run(folder), "grad_cam") == ()


def test_pictures_come_in_their_order_as_data(folder):
    rows = Run(folder).rows("clean")
    first, second = rows["sample_id"][5], rows["sample_id"][2]
    (folder / "thumbs" / "overlay-a.webp").write_bytes(b"RIFF one")
    entries = [
        {"sample_id": first, "image": "overlay-a.webp", "overlay": "overlay-gone.webp"},
        {"sample_id": "nobody", "image": "overlay-a.webp", "overlay": "overlay-a.webp"},
        {"sample_id": second, "image": "overlay-a.webp", "overlay": "overlay-a.webp"},
    ]
    run = kept(folder, {"grad_cam": entries})
    found = overlays(run, "grad_cam")
    assert [picture.sample_id for picture in found] == [first, second]
    assert [picture.label for picture in found] == [run.classes[rows["label"][at]] for at in (5, 2)]
    assert [picture.predicted for picture in found] == [run.classes[rows["predicted"][at]] for at in (5, 2)]
    assert base64.b64decode(found[0].image.removeprefix("data:image/webp;base64,")) == b"RIFF one"
    assert found[0].overlay is None
    assert overlays(run, "gradient") == ()
