"""Pages of text, turned by a quarter at a time, with labels that cost nothing: whoever turns a page knows how.

    pip install pillow font-source-serif-pro font-source-sans-pro font-roboto font-caladea font-amatic-sc
    python orientation_pages.py pages --documents 1000

The fonts are free: SIL OFL 1.1, those of Roboto and Caladea Apache 2.0. A document is a letter, a report, a ledger, a
form or notes, of one to three pages; it has a font, a size of type, a margin and the faults of its scanner (skew, blur,
noise, grey paper, JPEG). Pages are A4 at 100 dots an inch, and grey. The words are those of this project's licence.

It is all drawn, and stands in for scans: there are no photographs, logos, stamps or handwriting, one script alone, no
colour, no creases or shadows. What is measured here is true of such pages, and of scans once it is measured on them.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = (827, 1169)
"""Width and height of an upright page in pixels."""

TURNS = {
    "turned-0": None,
    "turned-90": Image.Transpose.ROTATE_270,
    "turned-180": Image.Transpose.ROTATE_180,
    "turned-270": Image.Transpose.ROTATE_90,
}
"""How a page was turned, in degrees clockwise; Pillow counts the other way round."""

FAMILIES = {
    "font_source_serif_pro": ("SourceSerifPro-Regular.ttf", "SourceSerifPro-Bold.ttf"),
    "font_source_sans_pro": ("SourceSansPro-Regular.ttf", "SourceSansPro-Bold.ttf"),
    "font_roboto": ("Roboto-Regular.ttf", "Roboto-Bold.ttf"),
    "font_caladea": ("Caladea-Regular.ttf", "Caladea-Bold.ttf"),
    "font_amatic_sc": ("AmaticSC-Regular.ttf", "AmaticSC-Bold.ttf"),
}
"""A package of PyPI, and its files for text and for headings; the last one imitates printing by hand, in capitals."""

WORDS = (Path(__file__).parents[1] / "LICENSE").read_text("utf-8").split()


@dataclass(frozen=True)
class Document:
    """What the pages of a document have in common; lengths in pixels, angles in degrees, grey from 0 to 255."""

    kind: str
    text: Path
    heading: Path
    type_size: int
    margin: int
    leading: float
    ink: int
    paper: int
    skew: float
    blur: float
    noise: float
    quality: int


class Sheet:
    """A page while it is written on, from the top down."""

    def __init__(self, document: Document, rng: np.random.Generator) -> None:
        """An empty page of `document`, whose chances are those of `rng`."""
        self.document, self.rng = document, rng
        self.image = Image.new("L", SIZE, document.paper)
        self.draw = ImageDraw.Draw(self.image)
        self.font = ImageFont.truetype(document.text, document.type_size)
        self.step = round(document.type_size * document.leading)
        self.left, self.right = document.margin, SIZE[0] - document.margin
        self.top, self.end = document.margin, SIZE[1] - document.margin

    def words(self, number: int) -> str:
        """So many words of the licence, from anywhere."""
        start = int(self.rng.integers(len(WORDS) - number))
        return " ".join(WORDS[start : start + number])

    def heading(self, scale: float, number: int) -> None:
        """One line of larger type."""
        font = ImageFont.truetype(self.document.heading, round(self.document.type_size * scale))
        self.draw.text((self.left, self.top), self.words(number), font=font, fill=self.document.ink)
        self.top += round(self.step * (scale + 0.8))

    def paragraph(self, number: int, left: int, right: int, top: int) -> int:
        """Words set between two edges as far as the page goes; where the next line would begin."""
        line = ""
        for word in [*self.words(number).split(), ""]:
            longer = f"{line} {word}".strip()
            if word and self.font.getlength(longer) <= right - left:
                line = longer
                continue
            if top + self.step > self.end:
                break
            self.draw.text((left, top), line, font=self.font, fill=self.document.ink)
            line, top = word, top + self.step
        return top

    def prose(self, paragraphs: int) -> None:
        """Paragraphs one below the other."""
        for _ in range(paragraphs):
            words = int(self.rng.integers(25, 110))
            self.top = self.paragraph(words, self.left, self.right, self.top) + self.step // 2

    def columns(self) -> None:
        """Two columns down to the foot of the page."""
        middle, gap = SIZE[0] // 2, self.document.type_size
        for left, right in ((self.left, middle - gap), (middle + gap, self.right)):
            top = self.top
            while top + self.step < self.end:
                top = self.paragraph(int(self.rng.integers(30, 90)), left, right, top) + self.step // 2

    def table(self, rows: int) -> None:
        """Names in a first column, numbers flush right in the others; half of all tables have lines."""
        ruled = self.rng.random() < 0.5
        columns = int(self.rng.integers(3, 7))
        edges = np.linspace(self.left, self.right, columns + 1).round().astype(int).tolist()
        for row in range(rows):
            if self.top + self.step > self.end:
                return
            name = self.words(1)[:10] if row else "Item"
            self.draw.text((edges[0] + 4, self.top), name, font=self.font, fill=self.document.ink)
            for edge in edges[2:]:
                number = f"{self.rng.integers(1, 10 ** int(self.rng.integers(2, 6))):,}"
                self.draw.text((edge - 6, self.top), number, font=self.font, fill=self.document.ink, anchor="ra")
            self.top += round(self.step * 1.2)
            if ruled or row == 0:
                self.draw.line((self.left, self.top - 4, self.right, self.top - 4), fill=self.document.ink)

    def fields(self, number: int) -> None:
        """Names of fields, each with a box, of which some are filled in."""
        for _ in range(number):
            if self.top + 2 * self.step > self.end:
                return
            self.draw.text((self.left, self.top), self.words(2)[:18], font=self.font, fill=self.document.ink)
            box = (self.left + SIZE[0] // 4, self.top - 3, self.right, self.top + self.step)
            self.draw.rectangle(box, outline=self.document.ink)
            if self.rng.random() < 0.6:
                self.draw.text((box[0] + 6, self.top), self.words(3)[:30], font=self.font, fill=self.document.ink)
            self.top += 2 * self.step

    def number(self, page: int) -> None:
        """The number of the page below its text."""
        place = (SIZE[0] // 2, SIZE[1] - self.document.margin // 2)
        self.draw.text(place, str(page), font=self.font, fill=self.document.ink, anchor="mm")


def letter(sheet: Sheet, page: int) -> None:
    """An address, a line about what it is, paragraphs and a name below."""
    if page == 1:
        for _ in range(4):
            sheet.top = sheet.paragraph(3, sheet.left, sheet.right, sheet.top)
        sheet.top += 2 * sheet.step
    sheet.prose(int(sheet.rng.integers(1, 6)))
    sheet.top = sheet.paragraph(2, sheet.left, sheet.right, sheet.top + 2 * sheet.step)


def report(sheet: Sheet, page: int) -> None:
    """A title page with little on it, or text in one or two columns below a heading."""
    if page == 1 and sheet.rng.random() < 0.5:
        sheet.top = SIZE[1] // 3
        sheet.heading(2.2, 3)
        sheet.heading(1.2, 5)
        return
    sheet.heading(1.5, 4)
    if sheet.rng.random() < 0.5:
        sheet.columns()
    else:
        sheet.prose(9)
    sheet.number(page)


def ledger(sheet: Sheet, page: int) -> None:
    """A table, with a heading on the first page."""
    if page == 1:
        sheet.heading(1.3, 3)
    sheet.table(int(sheet.rng.integers(4, 45)))


def form(sheet: Sheet, page: int) -> None:
    """Boxes to be filled in, with a line of explanation."""
    sheet.heading(1.3, 3)
    sheet.prose(1)
    sheet.fields(int(sheet.rng.integers(4, 16)))
    sheet.number(page)


def notes(sheet: Sheet, page: int) -> None:
    """A few lines, anywhere on the page; numbers where it is the last of several."""
    for _ in range(int(sheet.rng.integers(1, 6))):
        left = int(sheet.rng.integers(sheet.left, SIZE[0] // 2))
        sheet.top = sheet.paragraph(int(sheet.rng.integers(2, 14)), left, sheet.right, sheet.top)
        sheet.top += int(sheet.rng.integers(1, 5)) * sheet.step
    if page > 1:
        sheet.number(page)


KINDS: dict[str, Callable[[Sheet, int], None]] = {
    "letter": letter,
    "report": report,
    "ledger": ledger,
    "form": form,
    "notes": notes,
}


def fonts(family: str) -> tuple[Path, Path]:
    """The files of a family for text and for headings; SystemExit with the line that installs what is missing."""
    found = find_spec(family)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"The fonts of {family} are missing: pip install {family.replace('_', '-')}")
    text, heading = FAMILIES[family]
    folder = Path(found.submodule_search_locations[0]) / "files"
    return folder / text, folder / heading


def document(rng: np.random.Generator) -> Document:
    """A document as chance has it."""
    kind = str(rng.choice(list(KINDS)))
    hand = kind == "notes" and rng.random() < 0.5
    family = "font_amatic_sc" if hand else str(rng.choice(list(FAMILIES)[:-1]))
    text, heading = fonts(family)
    return Document(
        kind=kind,
        text=text,
        heading=heading,
        type_size=int(rng.integers(12, 23)) + 10 * hand,
        margin=int(rng.integers(50, 130)),
        leading=float(rng.uniform(1.2, 1.9)),
        ink=int(rng.integers(0, 110)),
        paper=int(rng.integers(205, 256)),
        skew=float(rng.exponential(1.2)),
        blur=float(rng.exponential(0.5)),
        noise=float(rng.exponential(8)),
        quality=int(rng.integers(25, 95)),
    )


def scanned(page: Image.Image, paper: Document, rng: np.random.Generator) -> Image.Image:
    """An upright page as a poor scanner gives it back: askew, blurred and noisy."""
    askew = page.rotate(rng.normal(0, paper.skew), Image.Resampling.BICUBIC, fillcolor=paper.paper)
    blurred = np.asarray(askew.filter(ImageFilter.GaussianBlur(paper.blur)), dtype=np.float32)
    noisy = blurred + paper.noise * rng.standard_normal(blurred.shape, dtype=np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def write(folder: Path, documents: int, seed: int) -> Iterator[dict[str, str]]:
    """Draw documents into `folder`; a row of the table for each page. A document is the same however many follow it."""
    for number in range(documents):
        rng = np.random.default_rng([seed, number])
        paper, name = document(rng), f"{number:05d}"
        for page in range(1, int(rng.integers(1, 4)) + 1):
            sheet = Sheet(paper, rng)
            KINDS[paper.kind](sheet, page)
            image, turn = scanned(sheet.image, paper, rng), str(rng.choice(list(TURNS)))
            way = TURNS[turn]
            path = folder / name / f"{page}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            (image if way is None else image.transpose(way)).save(path, quality=paper.quality)
            row = {"path": f"{name}/{page}.jpg", "label": turn, "group": name}
            yield row | {"meta.kind": paper.kind, "meta.type_size": str(paper.type_size), "meta.page": f"page {page}"}


def main() -> None:
    """Write the pages, and `pages.csv` beside them."""
    parser = argparse.ArgumentParser(description="Pages of text, turned by a quarter at a time.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if asked.documents < 1:
        raise SystemExit("--documents is 1 or more.")
    asked.folder.mkdir(parents=True, exist_ok=True)
    rows = list(write(asked.folder, asked.documents, asked.seed))
    with (asked.folder / "pages.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    sys.stdout.write(f"{len(rows):,} pages of {asked.documents:,} documents: {asked.folder / 'pages.csv'}\n")


if __name__ == "__main__":
    main()
