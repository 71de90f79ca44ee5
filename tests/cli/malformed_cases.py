"""Malformed inputs as a table: what is written into an empty folder, the command that meets it, and what it must say.

`tools/malformed.py` runs all of them and prints the exit status, the seconds and the peak memory of each.
"""

import gzip
import io
import json
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import torch
from PIL import Image
from safetensors.torch import save_file
from tests import tiny

ROWS = 90
MODEL = "module:tests.tiny:Net"
CLASSES = ",".join(tiny.CLASSES)
IMAGES, LABELS = tiny.images_and_labels(ROWS)
PIXELS, NUMBERS = (IMAGES[:, 0] * 255).round().byte().numpy(), LABELS.numpy()
QUICK = ("--set", 'conditions.use=["clean"]')


@dataclass(frozen=True)
class Case:
    """One malformed input; `large` ones take a second or more to make.

    Attributes:
        name: what it is.
        arguments: writes it into the folder, the current one, and returns the command line.
        words: what the message holds, or why rows were lost.
        failed: how many rows are lost in an audit that goes on; None where it is refused.
    """

    name: str
    arguments: Callable[[], list[str]]
    words: tuple[str, ...]
    failed: int | None = None
    large: bool = False


CASES: list[Case] = []


def case(name, *words, failed=None, large=False):
    """Enter a function into the table; it returns a data address, or a whole command line."""

    def enter(write):
        def arguments():
            found = write()
            return ["audit", MODEL, found, *QUICK] if isinstance(found, str) else list(found)

        CASES.append(Case(name, arguments, words, failed, large))
        return write

    return enter


def cases(*table, failed=None, large=False):
    """Enter a function once for each line of a table of (name, argument, words)."""

    def enter(write):
        for name, argument, *words in table:
            case(name, *words, failed=failed, large=large)(lambda argument=argument: write(argument))
        return write

    return enter


def encoded(array, form="png"):
    out = io.BytesIO()
    Image.fromarray(array).save(out, form)
    return out.getvalue()


def folder(**files):
    """A folder of pictures, and others in the class disc, by name."""
    for number, (array, label) in enumerate(zip(PIXELS, NUMBERS, strict=True)):
        os.makedirs(f"set/{tiny.CLASSES[label]}", exist_ok=True)
        with open(f"set/{tiny.CLASSES[label]}/{number:03d}.png", "wb") as file:
            file.write(encoded(array))
    for name, content in files.items():
        with open(f"set/disc/{name.replace('_', '.')}", "wb") as file:
            file.write(content)
    return f"folder:set?classes={CLASSES}"


def parquet(query="", **columns):
    given = {"image": [encoded(array) for array in PIXELS], "label": NUMBERS.tolist()} | columns
    pl.DataFrame(given).write_parquet("set.parquet")
    return f"parquet:set.parquet{query}"


def npz(save=np.savez, **arrays):
    save("set.npz", **{"images": PIXELS, "labels": NUMBERS} | arrays)
    return "npz:set.npz"


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def head(shape, descr="|u1", body=b""):
    """An NPY file with a header of one's own."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


def archive(*members, packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile("set.npz", "w", packing) as file:
        for name, content in members:
            file.writestr(name, content)
    return "npz:set.npz"


def listed(*lines, header="path,label"):
    folder()
    names = sorted(f"{kind}/{name}" for kind in os.listdir("set") for name in os.listdir(f"set/{kind}"))
    own = [f"{name},{name.partition('/')[0]}" for name in names]
    with open("set/list.csv", "w", encoding="utf-8", newline="") as file:
        file.write("\n".join([header, *own, *lines]) + "\n")
    return f"csv:set/list.csv?classes={CLASSES}"


def text_table(content, place="list.csv"):
    with open(place, "wb") as file:
        file.write(content)
    return f"csv:{place}"


def plan(text):
    with open("plan.toml", "w", encoding="utf-8") as file:
        file.write(text)
    return ["audit", "--plan", "plan.toml"]


def pipe(name):
    os.mkfifo(name)
    return name


IDS = [20240101 + row for row in range(ROWS)]


@cases(
    ("ids in parquet", IDS, "20,240,191 classes", "Ids and dates", "number the classes from 0"),
    ("labels of 2**62", [2**62, *[0] * 89], "more than 10¹⁵ classes", "Ids and dates"),
    ("negative labels", [-1, *[0, 1] * 44, 0], "row 0: the label -1 is not among the 2 classes"),
    ("labels with fractions", [0.5, *[0.0, 1.0] * 44, 0], "is a regression set: the label 0.5"),
    ("labels of infinity", [float("inf"), *[0.0, 1.0] * 44, 0], "the label inf is no whole number"),
    ("labels of 1e300", [1e300, *[0.0, 1.0] * 44, 0], "more than 10¹⁵ classes"),
    ("missing labels", [None, *[0, 1] * 44, 0], "row 0: the label is missing"),
    ("labels that are all missing", [None] * 90, "the label is missing"),
    ("dates in parquet", [date(2024, 1, 1)] * 90, "holds dates or times, such as 2024-01-01", "?label="),
    ("times in parquet", [datetime(2024, 1, 1, 12)] * 90, "holds dates or times"),
    ("durations in parquet", [timedelta(days=2)] * 90, "holds dates or times"),
    ("structs as labels", [{"a": 1}] * 90, "holds Struct", "one number or text a row"),
    ("lists as labels", [[0, 1]] * 90, "is multi-label"),
    ("bytes as labels", [b"a"] * 90, "is a segmentation set"),
    ("decimals with fractions as labels", [Decimal("0.5"), *[Decimal(1)] * 89], "regression set"),
    ("labels of two classes in a cell", ["disc|bar", *["disc", "bar"] * 44, "disc"], "is multi-label", "?classes=a,b"),
    ("class names with a line break", ["a\nb", *["disc", "bar"] * 44, "disc"], "no screen shows", "Rename it"),
    ("class names that turn the line", ["a\u202eb", *["disc", "bar"] * 44, "disc"], "no screen shows", "\\u202e"),
    ("class names of 10,000 characters", ["a" * 10_000, *["disc", "bar"] * 44, "disc"], "longer than 200"),
)  # fmt: skip
def _labels(values):
    return parquet(label=pl.Series(values, strict=False))


@cases(
    ("ids in a CSV file", "20240101", "20,240,102 classes"),
    ("a label of 1e300 in a CSV file", "1e300", "more than 10¹⁵ classes"),
    ("a label of -1 in a CSV file", "-1", "line 2: the label -1.0 is not among"),
    ("a label of 1e999 in a CSV file", "1e999", "cannot read the file"),
)
def _listed_labels(label):
    return text_table(f"path,label\na.png,{label}\nb.png,0\n".encode())


@cases(
    ("ids in npz", np.array(IDS), "20,240,191 classes"),
    ("labels of 2**64 - 1 in npz", np.full(ROWS, 2**64 - 1, np.uint64), "more than 10¹⁵ classes"),
    ("complex labels", NUMBERS.astype(complex), "is of the type complex128", "numbers or text"),
    ("dates in npz", np.full(ROWS, "2024-01-01", "M8[D]"), "is of the type datetime64[D]"),
    ("structured labels", np.zeros(ROWS, [("a", "i4")]), "numbers or text"),
    ("labels that are objects", np.array([None] * ROWS), "Python objects"),
    ("labels of half a character", np.array(["\ud800a", "b"] * 45), "3 output(s) per image for 2 classes"),
    ("labels of bytes that are no text", np.array([b"\xff", b"b"] * 45), "holds text that is none"),
    ("empty labels", np.array(["", "b"] * 45), "the label is missing"),
)  # fmt: skip
def _label_arrays(values):
    return npz(labels=values)


@cases(
    ("npz of negative shape", (("images.npy", head((-1, 8, 8), body=bytes(64))),), "no side of an array is negative"),
    ("npz of a huge shape", (("images.npy", head((2**62, 2**10, 8))),), "announces", "cut short"),
    ("npz of a shape that overflows", (("images.npy", head((2**32, 2**32, 8))),), "cut short"),
    ("npz of a shape of text", (("images.npy", head(("a", 8))),), "cannot read set.npz as an NPZ archive"),
    ("npz of rows without bytes", (("images.npy", head((2**62,), "|V0")),), "numbers or text"),
    ("npz of texts without characters", (("images.npy", npy(PIXELS)), ("labels.npy", head((90,), "<U0"))), "text"),
    ("npz of an unknown type", (("images.npy", head((1,), "|q9")),), "cannot read set.npz as an NPZ archive"),
    ("npz of a type that runs code", (("images.npy", head((1,), "__import__('os')")),), "cannot read set.npz"),
    ("npz without pixels", (("images.npy", npy(np.zeros((90, 0, 8), np.uint8))), ("labels.npy", npy(NUMBERS))),
     "an image has no pixels"),
    ("npz with an array twice", (("images.npy", npy(PIXELS)), ("images", npy(PIXELS))), "holds 'images' twice"),
    ("npz of members that are no arrays", (("images.npy", b"x" * 99), ("labels.npy", b"")), "cannot read set.npz"),
    ("npz of a member of no bytes", (("images.npy", b""),), "cannot read set.npz"),
    ("npz of a header of 100,000 bytes",
     (("images.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 100_000) + b"{" * 100_000),), "cannot read set.npz"),
    ("npz of a header nested 3,000 deep",
     (("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 6000) + b"[" * 3000 + b"]" * 3000),), "cannot read"),
)  # fmt: skip
def _npz_members(members):
    return archive(*members)


@case("npz that unpacks to 6 GB", "unpacks from", "to fill a disk")
def _bomb():
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = head((6_000, 1_000, 1_000))
    block, crc, size = bytes(1 << 24), zlib.crc32(start), len(start)
    packed = [pack.compress(start)]
    packed += [pack.compress(block) + pack.flush(zlib.Z_FULL_FLUSH)] * 360
    size += len(block) * 360
    body = b"".join(packed) + b"\x03\x00"
    name = b"images.npy"
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 33, crc, 0xFFFFFFFF, 0xFFFFFFFF, len(name), 20)
    extra = struct.pack("<HHQQ", 1, 16, size, len(body))
    directory = struct.pack(
        "<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 8, 0, 33, crc, 0xFFFFFFFF, 0xFFFFFFFF, len(name), 20, 0, 0, 0, 0, 0
    )
    at = len(local) + len(name) + len(extra) + len(body)
    central = directory + name + extra
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(central), at, 0)
    with open("set.npz", "wb") as file:
        file.write(local + name + extra + body + central + end)
    return "npz:set.npz"


@case("npz with a wrong checksum", "cannot read set.npz as an NPZ archive", "CRC")
def _checksum():
    npz()
    with open("set.npz", "r+b") as file:
        file.seek(1000)
        file.write(b"\xff" * 50)
    return "npz:set.npz"


@cases(*((f"npz cut to {share:.0%}", share, "cannot read set.npz") for share in (0.1, 0.5, 0.99)))
def _cut(share):
    npz()
    os.truncate("set.npz", int(os.path.getsize("set.npz") * share))
    return "npz:set.npz"


@case("an array file instead of an archive", "cannot read set.npy as an NPZ archive")
def _npy():
    np.save("set.npy", PIXELS)
    return "npz:set.npy"


@case("an encrypted archive", "cannot read set.npz as an NPZ archive", "encrypted")
def _encrypted():
    npz()
    with open("set.npz", "rb") as file:
        content = bytearray(file.read())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(mark, at + 1)
    with open("set.npz", "wb") as file:
        file.write(content)
    return "npz:set.npz"


@case("images of complex numbers", "is of the type complex64")
def _complex():
    return npz(images=PIXELS.astype(np.complex64))


@case("images of NaN", "pixels from nan to nan")
def _nan():
    return npz(images=np.full((ROWS, 8, 8), np.nan))


@cases(
    ("structs of text as images", [{"bytes": "x", "path": None}] * ROWS, "holds Struct", "encoded bytes"),
    ("lists of bytes as images", [[1, 2]] * ROWS, "images must be encoded bytes"),
    ("text as images", ["x"] * ROWS, "images must be encoded bytes"),
    ("images that are all missing", pl.Series([None] * ROWS, dtype=pl.Binary), "none of 64 images", "no image bytes"),
)
def _image_columns(values):
    return parquet(image=values)


@case("missing images", "no image bytes", failed=2)
def _nulls():
    images = [encoded(array) for array in PIXELS]
    return parquet(f"?classes={CLASSES}", image=[None, b"", *images[2:]])


@case("a struct as the group", "holds Struct", "name another column")
def _group():
    return parquet("?group=who", who=[{"a": 1}] * ROWS)


@case("Parquet that unpacks to 1.5 GB", "unpacks to", "made to fill the memory", large=True)
def _parquet_bomb():
    rows = [bytes(500 << 20)] * 3
    pl.DataFrame({"image": rows, "label": [0, 1, 0]}).write_parquet("set.parquet", row_group_size=1)
    return "parquet:set.parquet"


@case("50,000 columns of Parquet", "has 50,002 columns; at most 1,000 are read", large=True)
def _wide():
    return parquet(**{f"c{number}": [0] * ROWS for number in range(50_000)})


@case("Parquet with 30,000,000 rows in 5 kB", "announces 30,000,000 rows", "as several files", large=True)
def _tall():
    label = pl.select(pl.repeat(0, 30_000_000, dtype=pl.Int8).alias("label"))
    label.with_columns(pl.lit(b"x").alias("image")).write_parquet("set.parquet", row_group_size=30_000_000)
    return "parquet:set.parquet"


@cases(
    ("an empty table", b"", "is empty; its first line must name the columns"),
    ("one giant line", b"a" * 20_000_000, "field larger than field limit"),
    ("one giant cell", b"path,label\n" + b"a" * 20_000_000 + b",b", "field larger than"),
    ("zero bytes", b"path,label\na\x00b.png,x\nc.png,y\n", "leads out of the folder"),
    ("100,000 columns", b",".join(b"c%d" % n for n in range(100_000)) + b"\n", "has 100,000 columns; at most 1,000"),
    ("an open quote", b'path,label\n"a.png,x\n', "Check the quotes"),
    ("columns called alike", b"path,label,label\n", "has the column 'label' twice"),
    ("a column that turns the line", "path,label,a\u202e\n".encode(), "no screen shows"),
    ("UTF-16", "path,label\na.png,x\n".encode("utf-16"), "is not UTF-8"),
    ("only a header", b"path,label\n", "none of 0 images"),
    ("a label for each of 60,000 images",
     b"path,label\n" + b"".join(b"%d.png,id%d\n" % (n, n) for n in range(60_000)), "60,000 classes"),
)  # fmt: skip
def _text_tables(content):
    return text_table(content)


@case("10,000,000 empty lines", "more than 8,000,000 lines", large=True)
def _empty_lines():
    return text_table(b"path,label\n" + b"\n" * 10_000_000)


@case("a list with names no screen shows", "cannot read the file", failed=2)
def _hidden_names():
    return listed("a\x85b\u2028c.png,disc", '"a\nb\x1b[31m.png",disc')


@cases(
    ("a pipe as a list", "csv:", "not a regular file"),
    ("a pipe as a Parquet file", "parquet:", "there is no file"),
    ("a pipe as an archive", "npz:", "no regular file"),
)
def _pipes(scheme):
    return f"{scheme}{pipe('pipe')}"


@cases(
    ("/dev/zero as a list", "csv:", "not a regular file"),
    ("/dev/zero as a Parquet file", "parquet:", "there is no file"),
    ("/dev/zero as an archive", "npz:", "no regular file"),
    ("/dev/zero as a folder", "folder:", "there is no folder"),
    ("/dev/zero as IDX", "idx:", "has no file"),
    ("/dev/zero as CIFAR-10", "cifar10:", "has no file"),
    ("/dev/zero as Tiny ImageNet", "tiny-imagenet:", "there is no file"),
)
def _devices(scheme):
    return f"{scheme}/dev/zero"


@cases(
    ("a folder as a list", "csv:.", "it is a folder"),
    ("a folder as a Parquet file", "parquet:.", "there is no file"),
    ("a folder as an archive", "npz:.", "no regular file"),
)
def _folders_for_files(address):
    return address


@case("a socket as a list", "not a regular file")
def _socket():
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    return "csv:socket"


@case("a list of 10 GB", "10,000,000,000 bytes")
def _sparse():
    text_table(b"path,label\n")
    os.truncate("list.csv", 10**10)
    return "csv:list.csv"


@cases(
    ("/dev/zero as a plan", "/dev/zero", "cannot read the plan /dev/zero: not a regular file"),
    ("a folder as a plan", ".", "it is a folder"),
    ("/dev/zero as weights", None, "no weights at '/dev/zero'"),
)
def _others(path):
    return ["audit", f"{MODEL}@/dev/zero", parquet(), *QUICK] if path is None else ["audit", "--plan", path]


@case("a pipe as a plan", "not a regular file")
def _plan_pipe():
    return ["audit", "--plan", pipe("pipe")]


@cases(
    ("/dev/zero as names of classes", "/dev/zero", "--classes takes a text file", "not a regular file"),
    ("a folder as names of classes", ".", "it is a folder"),
)
def _class_files(path):
    folder()
    return ["explain", MODEL, "set/disc", "--classes", path, "--out", "out"]


@cases(
    ("a plan nested 3,000 deep", "[conditions]\nuse = " + "[" * 3000 + "]" * 3000, "nested"),
    ("a plan of tables 3,000 deep", ".".join("a" * 3000) + " = 1", "nested more than 12 deep"),
    ("a plan nested 100 deep", "[conditions]\nuse = " + "[" * 100 + "]" * 100, "nested more than 12 deep"),
    ("a plan of 10 MB", "# " + "x" * 10_000_000, "10,000,002 bytes, more than the 1,048,576"),
    ("a plan of 10⁶ conditions",
     "[conditions]\nuse = ['pgd(eps=A, steps=A, restarts=A)']".replace("A", str(list(range(1, 101)))),
     "come to 1,000,000 conditions", "write several plans"),
    ("a plan of 20,000 signals", f"[signals]\nuse = {['msp'] * 20_000}", "at most 10000"),
    ("a plan of 5,000 digits", "seed = " + "9" * 5000, "not valid TOML"),
    ("a seed of 2**70", "seed = 1180591620717411303424", "plan key 'seed'"),
    ("a batch that is no number", "batch = nan", "plan key 'batch'"),
    ("a batch of true", "batch = true", "plan key 'batch'"),
    ("a batch that is a date", "batch = 2024-01-01", "plan key 'batch'"),
    ("a negative batch", "batch = -1", "greater than or equal to 2"),
    ("costs of infinity", "[costs]\nabstained = inf", "finite number of at least 0"),
    ("names nested 3,000 deep",
     "[conditions]\nuse = ['" + "ensemble(attacks=[" * 3000 + "])" * 3000 + "']", "longer than 10,000 characters"),
    ("names nested 500 deep", "[signals]\nuse = ['" + "t(s=" * 500 + "a" + ")" * 500 + "']", "cannot read the name"),
    ("a chain of 3,000 divisions", "[conditions]\nuse = ['pgd(eps=1" + "/1" * 3000 + ")']", "nested too deep"),
    ("a chain of 3,000 signs", "[conditions]\nuse = ['pgd(eps=" + "-" * 3000 + "1)']", "cannot read the name"),
    ("a name with a huge number", "[conditions]\nuse = ['pgd(eps=" + "9" * 400 + ")']", "whole number is larger"),
    ("a name with 5,000 digits", "[conditions]\nuse = ['pgd(eps=" + "9" * 5000 + ")']", "does not parse"),
    ("a name that overflows", "[conditions]\nuse = ['pgd(eps=1e308/1e-308)']", "not finite"),
    ("a name with a zero byte", "[conditions]\nuse = ['pgd(eps=\\u0000)']", "cannot read"),
)  # fmt: skip
def _plans(text):
    return plan(text)


@cases(
    ("?size=1000000000", "size=1000000000", "from 1 to 4096 pixels"),
    ("?size=-1", "size=-1", "from 1 to 4096 pixels"),
    ("?size=nan", "size=nan", "from 1 to 4096 pixels"),
    ("?size=true", "size=true", "from 1 to 4096 pixels"),
    ("?size=٣", "size=٣", "from 1 to 4096 pixels"),
    ("?size of 5,000 digits", "size=" + "9" * 5000, "from 1 to 4096 pixels"),
    ("?size=4096", "size=4096", "a batch of 90 images", "takes", "smaller images"),
    ("?crop=1e9", "size=8&crop=1e9", "`crop` must be center"),
    ("?full_scale=nan", "full_scale=nan", "`full_scale` must be the value of white"),
    ("?full_scale=-1", "full_scale=-1", "`full_scale` must be"),
    ("?colour=true", "colour=true", "`colour` must be grey or rgb"),
)
def _data_options(query):
    return f"{folder()}&{query}"


@cases(
    *(
        (f"a model's ?{option}={value[:9]}", f"{option}={value}", f"the option {option} takes")
        for option in ("size", "channels", "mean", "std")
        for value in ("1e999", "nan", "true", "9" * 5000 if option in {"size", "channels"} else "x")
    ),
    ("a model's ?channels=1000000000", "channels=1000000000", "from 1 to 1,024"),
    ("a model's ?channels=-1", "channels=-1", "from 1 to 1,024"),
    ("a model's ?size=1000000000", "size=1000000000", "from 1 to 4,096"),
    ("a model's ?std=0", "std=0", "`std` must be positive"),
    ("a model's ?std=-1", "std=-1", "`std` must be positive"),
    ("a model's ?mean=1e300", "mean=1e300", "scale of images in [0, 1]"),
)
def _model_options(query):
    return ["audit", f"{MODEL}?{query}", parquet(f"?classes={CLASSES}"), *QUICK]


@cases(
    ("an address that is not UTF-8", "folder:caf\udce9", "not UTF-8", "caf\\xe9"),
    ("an address with a line break", "folder:a\nb", "no screen shows"),
    ("an address of 10⁶ characters", "folder:" + "a" * 10**6, "longer than 100,000 characters"),
    ("a path of 10,000 characters", "x" * 10_000, "unknown scheme"),
)
def _addresses(address):
    return address


@case("a class folder that is not UTF-8", "'caf\\xe9'", "no screen shows")
def _class_folder():
    folder()
    os.rename(b"set/bar", b"set/caf\xe9")
    return "folder:set"


@case("a class folder with a line break", "no screen shows")
def _class_folder_break():
    folder()
    os.rename("set/bar", "set/a\nb")
    return "folder:set"


@case("pictures whose names no screen shows", "cannot decode the image", failed=4)
def _names():
    address = folder()
    for name in (b"caf\xe9.png", b"a\nb.png", b"\x1b[31m.png", "a\u202eb.png".encode()):
        with open(b"set/disc/" + name, "wb") as file:
            file.write(b"x")
    return address


@case("a folder 1,200 deep", "no image bytes", failed=1)
def _deep():
    address, here = folder(), os.getcwd()
    os.chdir("set/disc")
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    open("x.png", "w").close()
    os.chdir(here)
    return address


@case("a folder deeper than a path may be long", "cannot read the file: File name too long", failed=1)
def _too_deep():
    address, here = folder(), os.getcwd()
    os.chdir("set/disc")
    for _ in range(40):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    os.chdir(here)
    return address


@case("things that are no pictures among pictures", "not a regular file", failed=2)
def _no_pictures():
    address = folder()
    pipe("set/disc/pipe.png")
    os.symlink("/dev/zero", "set/disc/zero.png")
    return address


@case("a picture of 10 GB", "10,000,000,000 bytes", failed=1)
def _large_picture():
    address = folder(big_png=b"x")
    os.truncate("set/disc/big.png", 10**10)
    return address


def png_of(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


@cases(
    ("a picture of 1×1", encoded(np.zeros((1, 1), np.uint8)), "size 1×1×1 in a set of 1×8×8"),
    ("a picture of 30000×30000", png_of(30_000, 30_000), "cannot decode the image"),
    ("a picture of 9000×9000", png_of(9_000, 9_000), "81,000,000 pixels, more than"),
    ("a picture of 2³¹×1", png_of(2**31 - 1, 1), "cannot decode the image"),
    ("a picture of 0×0", png_of(0, 0), "cannot decode the image"),
    ("a program as a picture", b"%!PS-Adobe\n", "cannot decode the image"),
    ("an SVG as a picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot decode the image"),
    ("a picture of noise", bytes(range(256)) * 8, "cannot decode the image"),
    failed=1,
    large=True,
)
def _pictures(content):
    return folder(odd_png=content)


@case("pictures of all these kinds", "the image", failed=4)
def _all_pictures():
    return folder(a_png=png_of(30_000, 30_000), b_png=png_of(0, 0), c_png=b"%!PS-Adobe\n", d_png=bytes(range(256)))


@cases(
    ("ids as labels in IDX that is gzipped junk", gzip.compress(b"x" * 99), "is not an IDX file"),
    ("IDX that is no gzip", b"x", "cannot read"),
    ("IDX with a broken stream", gzip.compress(bytes(9999))[:-20], "t10k-images"),
    ("IDX of 2³² squared", gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12), "announces", "fill the memory"),
    ("IDX that unpacks to 6 GB",
     gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 6000, 1000, 1000) + bytes(1 << 24)), "fill the memory"),
    ("IDX without pixels", gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 9, 0, 8)), "no pixels"),
)  # fmt: skip
def _idx(content):
    os.mkdir("idx")
    with open("idx/t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(content)
    return "idx:idx"


def weights(change):
    state = tiny.Net().state_dict()
    change(state)
    save_file(state, "w.safetensors")
    return ["audit", f"{MODEL}@w.safetensors", parquet(f"?classes={CLASSES}"), *QUICK]


@cases(
    *(
        (f"weights of {str(kind).removeprefix('torch.')}", kind, "and should be float32")
        for kind in (torch.complex64, torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2)
    )
)
def _kinds(kind):
    return weights(lambda state: state.update({"compare.weight": state["compare.weight"].to(kind)}))


def raw_weights(header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with open("w.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return ["audit", f"{MODEL}@w.safetensors", parquet(f"?classes={CLASSES}"), *QUICK]


def entry(start, stop, dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


@cases(
    ("weights whose tensors overlap", ({"a": entry(0, 4), "b": entry(2, 6)}, bytes(6)), "none or is damaged"),
    ("weights with a hole", ({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)), "none or is damaged"),
    ("weights of negative shape", ({"a": entry(0, 4, shape=(-1,))}, bytes(4)), "none or is damaged"),
    ("weights of a shape that overflows", ({"a": entry(0, 4, shape=(2**40, 2**40))}, bytes(4)), "none or is damaged"),
    ("weights of an unknown type", ({"a": entry(0, 4, "Q9")}, bytes(4)), "none or is damaged"),
    ("weights of a header of 2**60", (b"{}", b"", 2**60), "none or is damaged"),
    ("weights of a header of 50 MB", (b"{" + b" " * 50_000_000 + b"}", b""), "header of w.safetensors has 50,000,002"),
    ("weights of a header nested deep", (b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}", b""), "none or is damaged"),
    ("weights that are empty", ({}, b""), "is missing"),
    ("weights of no bytes", (b"", b"", 0), "none or is damaged"),
)
def _headers(given):
    return raw_weights(*given)


@cases(
    ("a mask of noise", b"x", "cannot read the mask"),
    ("a mask of another size", encoded(np.zeros((3, 3), np.uint8)), "marks a picture of 3×3"),
    ("a mask of 30000×30000", png_of(30_000, 30_000), "cannot read the mask"),
)
def _masks(content):
    folder()
    for kind in tiny.CLASSES:
        os.makedirs(f"masks/{kind}")
    for number, label in enumerate(NUMBERS):
        with open(f"masks/{tiny.CLASSES[label]}/{number:03d}.png", "wb") as file:
            file.write(content)
    return f"folder:set?classes={CLASSES}&masks=../masks"


@cases(
    ("/dev/zero as a folder of masks", "masks=/dev/zero", "must name a folder"),
    ("no folder of boxes", "boxes=", "must name a folder"),
)
def _mask_folders(query):
    return f"{folder()}&{query}"


@cases(
    ("a run folder that is not UTF-8", ["audit", "--out", "o\udce9", *QUICK], "name is not UTF-8", "--out DIR"),
    ("a purpose that is not UTF-8", ["audit", "--set", 'purpose.population="o\udce9"', *QUICK], "not UTF-8"),
    ("training on a seed of 2**70", ["train", "--seed", str(2**70), "--out", "new"], "a whole number between"),
    ("a size of 4096 for no classes", ["explain", "--out", "new"], "outputs for an image of shape (1, 4096, 4096)"),
)  # fmt: skip
def _options(arguments):
    command, *rest = arguments
    data = parquet(f"?classes={CLASSES}")
    if command == "explain":
        folder()
        return [command, f"{MODEL}?size=4096", "set/disc", *rest]
    return [command, "resnet20" if command == "train" else MODEL, data, *rest]


assert len({each.name for each in CASES}) == len(CASES), "names of cases must differ"
