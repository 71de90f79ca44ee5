"""What conditions are called in tables: the names the audit wrote, or the sentence where it wrote none."""

from typing import Protocol

from demur.analysis.results import Results
from demur.report.phrases import headed, pixel_words, readable


class Named(Protocol):
    """Anything that says of which condition it is."""

    @property
    def condition(self) -> str:
        """The canonical name."""
        ...


def title(row: Named, results: Results) -> str:
    """The whole short name: `FGSM, eps 8/255 (3.1 %)`."""
    found = results.titles.get(row.condition)
    return found.title if found else _spoken(row.condition, results)


def points_title(row: Named, results: Results) -> str:
    """The same where a table is about the points kept, which for an ensemble are not of the size it is judged at."""
    found = results.titles.get(row.condition)
    return title(row, results) if found is None or found.points is None else found.points


def heading(condition: str, family: str, results: Results) -> str:
    """The family alone: `FGSM`, `Gaussian noise`."""
    found = results.titles.get(condition)
    return found.heading if found else headed(readable(family))


def level(condition: str, results: Results) -> str:
    """The size alone: `eps 8/255 (3.1 %)`, `severity 3`; empty where there is none."""
    found = results.titles.get(condition)
    if found:
        return found.level or ""
    row = next((row for row in results.conditions if row.condition == condition), None)
    if row is None or not row.severity:
        return ""
    return f"eps {pixel_words(row.severity)}" if row.kind == "attack" else f"severity {row.severity:g}"


def _spoken(condition: str, results: Results) -> str:
    """The sentence of a condition, up to a colon."""
    sentences = {
        **{row.condition: row.sentence for row in results.epsilon},
        **{row.condition: row.sentence for row in results.attacks},
        **{row.condition: row.sentence for row in results.conditions},
    }
    return sentences.get(condition, condition).partition(":")[0]
