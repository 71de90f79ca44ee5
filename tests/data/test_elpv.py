import sys
from importlib.util import find_spec
from itertools import groupby

import pytest
from tests.data.image_files import save

from demur.data import open_data
from demur.data.elpv import MODULES
from demur.errors import AddressError, DataError, MissingExtraError

LEVELS = ["0.0", "0.3333333333333333", "0.6666666666666666", "1.0"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with the layout of elpv-dataset: the table of all cells, pictures of a few."""
    data = tmp_path / "elpv_dataset" / "data"
    names = [f"images/cell{number:04d}.png" for number in range(1, 2625)]
    save(data, names[:400:6] + names[400::80], (30, 30))
    (tmp_path / "elpv_dataset" / "__init__.py").touch()
    lines = [f"{name}  {LEVELS[at % 4]:20} {'mono' if at < 60 else 'poly'}" for at, name in enumerate(names)]
    (data / "labels.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "elpv_dataset", raising=False)
    return data


def test_half_is_defective_and_the_module_is_the_group(package):
    source = open_data("elpv?size=16")
    rows = list(source.read([0, 1, 2, 3, 59, 60]))
    assert source.classes == ("functional", "defective")
    assert len(source) == 2624
    assert [row.label for row in rows[:4]] == [0, 0, 1, 1]
    assert [row.weight for row in rows[:4]] == pytest.approx([1, 1 / 3, 1 / 3, 1])
    assert [row.group for row in rows] == ["module 01"] * 5 + ["module 02"]
    assert rows[5].meta == {"type": "poly"}
    assert rows[0].image.shape == (1, 16, 16)
    assert rows[1].error == "cannot read the file: No such file or directory"
    assert next(open_data("elpv?group=none").read([0])).group is None


def test_there_are_as_many_modules_and_cells_as_reported():
    assert (len(MODULES), sum(MODULES)) == (44, 2624)


def test_other_addresses_and_packages_are_refused(package):
    for address in ("elpv:somewhere", "elpv?group=lot"):
        with pytest.raises(AddressError, match="elpv or elpv"):
            open_data(address)
    (package / "labels.csv").write_text("images/cell0001.png 0.0 mono\n")
    with pytest.raises(DataError, match="lists 1 cells; the set has 2624"):
        open_data("elpv")


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("demur.data.elpv.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'demur\[elpv\]'"):
        open_data("elpv")


@pytest.mark.skipif(find_spec("elpv_dataset") is None, reason="needs the extra elpv")
def test_the_inferred_modules_are_of_one_type_each():
    source = open_data("elpv")
    modules = [
        (group, {row.meta["type"] for row in rows}) for group, rows in groupby(source.listed, key=lambda r: r.group)
    ]
    assert len(modules) == 44
    assert sum(types == {"mono"} for _, types in modules) == 18
    assert sum(types == {"poly"} for _, types in modules) == 26
    assert sum(row.label for row in source.listed) == 821
