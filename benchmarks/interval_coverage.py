"""Are the 95 % intervals honest? Every kind that a report prints, on simulated data sets with a known truth, counted.

    python benchmarks/interval_coverage.py [--quick] [--only WORD] [--page docs/reference/interval-coverage.md]

Printed is the share of data sets whose interval holds the truth, and on which side it lies when not; beside it, without
--quick, what the interval that was printed formerly did on the same sets. Then what is read off many at once, and the
gates on the worst class: how often they fail where every class passes, and whether they decide where they should. The
last line is JSON. Sets without an interval (too few errors, say) are counted apart.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from common.families import class_tables, gates, many_signals
from common.intervals import KINDS, Interval, Kind

HUGE, QUICK = 400_000, 150_000
FEWEST, FORMER = 80, 10
LEAST, MOST_MISSES = 0.93, 0.045
Line = dict[str, object]


def truth_of(kind: Kind, images: int) -> float:
    """The mean of very large sets where it has no closed form."""
    if not callable(kind.truth):
        return float(kind.truth)
    size = kind.size.huge(images)
    return kind.truth(kind.law(np.random.default_rng(1), size))


def counted(kind: Kind, interval: Interval, truth: float, sets: int) -> dict[str, float]:
    """What an interval does on many sets: holds, lies wholly above the truth, wholly below it, is not given."""
    found = []
    for seed in range(sets):
        rows = kind.law(np.random.default_rng([7, seed]), kind.size)
        found.append(interval(rows, rows.get("units", kind.size.units)))
    told = [each for each in found if not math.isnan(each.low)]
    count = max(1, len(told))
    return {
        "held": sum(each.low <= truth <= each.high for each in told) / count,
        "truth below": sum(truth < each.low for each in told) / count,
        "truth above": sum(truth > each.high for each in told) / count,
        "none": 1 - len(told) / sets,
        "width": float(np.mean([each.high - each.low for each in told])) if told else math.nan,
    }


def lines(kinds: Sequence[Kind], sets: int, *, quick: bool) -> Iterator[Line]:
    """One for each kind and law."""
    for kind in kinds:
        truth = truth_of(kind, QUICK if quick else HUGE)
        own = max(FEWEST, sets // (kind.price if quick else max(1, kind.price // 5)))
        line: Line = {"kind": kind.name, "law": f"{kind.size.words}{', ' if kind.note else ''}{kind.note}", "sets": own}
        line |= {"truth": truth, "now": counted(kind, kind.now, truth, own)}
        if kind.before is not None and not quick:
            line["before"] = counted(kind, kind.before, truth, max(FEWEST, own // FORMER))
        print(words(line), flush=True)
        yield line


def words(line: Line) -> str:
    now, before = line["now"], line.get("before")
    assert isinstance(now, dict)
    text = f"  {line['kind']:<22} {line['law']:<34} held {now['held']:.3f}  below {now['truth below']:.3f}"
    text += f"  above {now['truth above']:.3f}  none {now['none']:.2f}"
    if isinstance(before, dict):
        text += f"   before: {before['held']:.3f} {before['truth below']:.3f} {before['truth above']:.3f}"
    return text + ("" if fine(now, int(str(line["sets"]))) else "   MISSES")


def fine(found: dict[str, float], sets: int) -> bool:
    """Whether an interval does what it must, as far as so many sets can tell (three standard errors)."""
    slack = [3 * math.sqrt(p * (1 - p) / sets) for p in (LEAST, MOST_MISSES)]
    sides = max(found["truth below"], found["truth above"])
    return found["held"] >= LEAST - slack[0] and sides <= MOST_MISSES + slack[1]


def page(found: dict[str, list[object]]) -> str:
    """The figures as a page of the reference."""
    text = [HEAD, "| figure | images | held | truth below | truth above | none | before: held | below | above |"]
    text.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for line in found["intervals"]:
        assert isinstance(line, dict)
        now, before = line["now"], line.get("before")
        cells = [line["kind"], line["law"], *(f"{now[key]:.3f}" for key in ("held", "truth below", "truth above"))]
        cells.append(f"{now['none']:.2f}" if now["none"] else "")
        cells += [f"{before[key]:.3f}" for key in ("held", "truth below", "truth above")] if before else [""] * 3
        text.append(f"| {' | '.join(cells)} |")
    for title, key in (("Many at once", "many"), ("Gates", "gates")):
        rows = [row for row in found[key] if isinstance(row, tuple)]
        text += ["", f"**{title}.**{NOTES[key]}"]
        for names in dict.fromkeys(tuple(figures) for _, figures in rows):
            own = [(name, figures) for name, figures in rows if tuple(figures) == names]
            text += ["", f"| | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
            text += [f"| {name} | {' | '.join(f'{figures[each]:.3f}' for each in names)} |" for name, figures in own]
    return "\n".join(text) + "\n"


HEAD = """# How often intervals hold

Written by `python benchmarks/interval_coverage.py --page docs/reference/interval-coverage.md`. Data sets with a known
truth are drawn again and again; each row says how often the 95 % interval of a figure holds the truth, how often the
truth lies below and above it (2.5 % each is even), and the share of sets without an interval. A row is 4,000 sets,
2,000 of AUGRC, AURC and AUPR, so figures are good to about ± .007, and ± .01. What was printed formerly stands beside
it, on a tenth of the sets: a percentile bootstrap for most, DeLong on the logit scale for AUROC. An interval passes
with at least .93 held and at most .045 on either side; some are wide on purpose, because they must hold whatever the
law (quantiles, ECE, rates put together, coverage at a risk). How each is made: [metrics](metrics.md). The correlation
of two random halves of the images, beside a ranking of classes, is no interval for other images and not in the table;
AUROC of attacks and shifts is that of groups, each image one.
"""
NOTES = {
    "many": " Intervals of classes hold for all at once, and that of the class which looks worst holds its own.",
    "gates": " `worst_class >= .7`: it `fails wrongly` where every class is right .75 of the time, `fails` where one "
    "is right .3 of the time and the others .95, `passes` where all are right .95 of the time.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer data sets, and not the former intervals")
    parser.add_argument(
        "--sets", type=int, help="how many simulated data sets; dear intervals get half, former ones a tenth"
    )
    parser.add_argument("--only", default="", help="the kinds whose name has this word")
    parser.add_argument("--page", type=Path, help="write the figures as a page of the documentation")
    arguments = parser.parse_args()
    began, sets = time.process_time(), arguments.sets or (400 if arguments.quick else 4000)
    kinds = [kind for kind in KINDS if arguments.only.lower() in kind.name.lower()]
    found: dict[str, list[object]] = {
        "intervals": [*lines(kinds, sets, quick=arguments.quick)],
        "many": [],
        "gates": [],
    }
    if not arguments.only:
        found["many"] = [*class_tables(sets), *many_signals(max(40, sets // 20))]
        found["gates"] = [*gates(sets)]
        for title, figures in (*found["many"], *found["gates"]):
            print(f"  {title:<40} {', '.join(f'{name} {share:.3f}' for name, share in figures.items())}")
    if arguments.page:
        arguments.page.write_text(page(found), "utf-8")
    print(f"{time.process_time() - began:.0f} s of one core")
    print(json.dumps({"sets": sets, **found}))


if __name__ == "__main__":
    main()
