"""2,624 solar cells under electroluminescence, 300×300 grey, functional or defective: `elpv?group=module|none`.

Buerhop-Lutz et al. (2018), doi:10.4229/35thEUPVSEC20182018-5CV.3.15. The images are under CC BY-NC-SA 4.0.

Two experts gave each cell a probability of a defect of 0, 1/3, 2/3 or 1; from 1/2 on it is called defective here, and
the label weight, |2p - 1|, says how sure they were. The module a cell was cut from is *inferred*: the set does not tell
it, and its cells come module by module. The lengths of the runs of one crystal type, in modules of 60 cells, give
exactly the 18 mono- and 26 polycrystalline modules that its authors report; inside the two runs that are no multiple of
60, the short module (of 54 and of 50 cells) is where the brightness of the cells changes. A cut may be off by a few
cells there.
"""

from importlib.util import find_spec
from pathlib import Path

from demur.data.image_list import Files, ImageListSource, image_list_source
from demur.data.source import UNREAD, Row, location_of
from demur.errors import AddressError, DataError, missing_extra
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address

CLASSES = ("functional", "defective")

MODULES = (60,) * 20 + (54,) + (60,) * 9 + (50,) + (60,) * 5 + (72,) + (60,) * 3 + (48,) + (60,) * 3
"""How many cells each module has, in the order of the set; inferred."""


def open_source(address: Address) -> ImageListSource:
    """Open the images of the package `elpv-dataset`; groups are modules unless `group=none`."""
    address.only(("group", *DECODE_OPTIONS))
    group = address.options.get("group", "module")
    if location_of(address) or group not in ("module", "none"):
        raise AddressError(f"the address of this set is elpv or elpv?group=none; got {address.text!r}.")
    table = _folder() / "labels.csv"
    cells = [line.split() for line in table.read_text("utf-8").splitlines() if line.strip()]
    if len(cells) != sum(MODULES):
        raise DataError(f"{table} lists {len(cells)} cells; the set has {sum(MODULES)}. Install elpv-dataset again.")
    modules = [f"module {number:02d}" for number, size in enumerate(MODULES, 1) for _ in range(size)]
    rows = [
        Row(
            name,
            None,
            int(float(probability) >= 0.5),
            group=module if group == "module" else None,
            error=UNREAD,
            meta={"type": kind},
            weight=abs(2 * float(probability) - 1),
        )
        for (name, probability, kind), module in zip(cells, modules, strict=True)
    ]
    load = Files(table.parent, tuple(row.sample_id for row in rows))
    return image_list_source(address.text, CLASSES, rows, load, Rules.of(address.options))


def _folder() -> Path:
    found = find_spec("elpv_dataset")
    if found is None or not found.submodule_search_locations:
        raise missing_extra("the elpv data", "elpv")
    return Path(found.submodule_search_locations[0]) / "data"
