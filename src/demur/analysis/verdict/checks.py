"""All checks of the measurement, and those of data, images of no class, rays, maps and the guarantee."""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

import polars as pl

from demur.analysis.attribution.map_tables import sanities
from demur.analysis.guard_parts import guard_parts
from demur.analysis.robustness.attack_tables import display_name
from demur.analysis.robustness.least_distances import attack_searches
from demur.analysis.robustness.perturbation_curves import Entry, is_direction, minimal_changes, section_searches
from demur.analysis.row_means import values
from demur.analysis.run_folder import Run
from demur.analysis.verdict.attack_checks import attack_checks
from demur.analysis.verdict.burst_checks import bursts
from demur.analysis.verdict.guard_attack_checks import guard_attack_checks
from demur.analysis.verdict.preprocessing_table import preprocessing_checks
from demur.analysis.verdict.proof_checks import proof_checks
from demur.analysis.verdict.sanity_checks import sanity_checks
from demur.analysis.verdict.verdict_tables import Bearing, Check, State, level, sure_level
from demur.files import read_json
from demur.metrics import p_value, wilson
from demur.policies import CertifiedPolicy, ClassThreshold
from demur.policies.keeping import Part
from demur.records import EXPLAIN, wrong

_FEWEST_ERRORS = 30


def data(run: Run) -> Iterator[Check]:
    """Whether the labels are the model's, images could be read, and there are errors to learn from."""
    rows = run.rows("clean")
    right = int((~wrong(rows)).sum())
    chance = 1 / len(run.classes)
    yield Check(
        name="labels fit the model",
        state="pass" if wilson(right, len(rows)).low > chance else "warn",
        sentence=f"The model is right far more often than guessing ({100 * chance:.0f} %)",
        count=right,
        of=len(rows),
    )
    yield Check(
        name="readable images",
        state=level(run.failure_count, run.planned("clean"), 0, 0.05),
        sentence="Images that could not be read and were left out",
        count=run.failure_count,
        of=run.planned("clean"),
    )
    errors = len(rows) - right
    yield Check(
        name="enough errors",
        state="warn" if errors < _FEWEST_ERRORS else "pass",
        sentence="Wrong answers to rank signals by; below 30 a ranking is noise, without any there is none",
        bears_on="rankings",
        count=errors,
        of=len(rows),
    )


def labels(run: Run) -> Iterator[Check]:
    """Whether labels are wrong at random; nothing is said where that cannot be told."""
    if not run.has_logits:
        return
    found = run.label_noise
    if found.share.reason is None:
        yield Check(
            name="labels are not wrong at random",
            state="warn" if found.evidence else "pass",
            sentence="Labels that even the surest answers contradict, in favour of classes the model finds unlikely",
            bears_on="labels",
            count=round(found.share.value * len(run.rows("clean"))) if found.evidence else 0,
            of=len(run.rows("clean")),
        )


_MANY_FAILURES = 0.01
_BEARINGS: Mapping[str, Bearing] = {
    "clean": "everything",
    "attack": "attacks",
    "corruption": "corruptions",
    "unknown": "unknown images",
}


def model_failures(run: Run) -> Iterator[Check]:
    """Whether the model answered; nothing is said where it always did, and was asked in the planned batches."""
    kinds = {entry["name"]: entry["kind"] for entry in run.facts["conditions"]}
    lost = {name: run.failures(name) for name in kinds}
    clean = pl.concat([lost[name].select("sample_id") for name, kind in kinds.items() if kind == "clean"])
    for name, kind in kinds.items():  # where the model fails on an image as it is, that is told once
        lost[name] = lost[name] if kind == "clean" else lost[name].join(clean, on="sample_id", how="anti")
    worst = max(lost, key=lambda name: wilson(len(lost[name]), max(1, run.planned(name))).low)
    if len(lost[worst]):
        yield Check(
            name="the model answers",
            bears_on=_BEARINGS.get(kinds[worst], "maps"),
            state=sure_level(len(lost[worst]), run.planned(worst), 0, _MANY_FAILURES),
            sentence=f"Images on which the model failed and that were left out ({worst}: {lost[worst]['error'][0]})",
            count=len(lost[worst]),
            of=run.planned(worst),
        )
    moved = sum(map(run.rebatched, lost))
    if moved:
        yield Check(
            name="batches are as planned",
            state="warn",
            sentence="Rows measured in smaller batches than planned, because the model failed on those",
            count=moved,
            of=sum(map(run.planned, lost)),
        )


def copies(run: Run) -> Iterator[Check]:
    """Images that serve two ends; runs of earlier versions did not search for them."""
    facts = run.optional_facts("near_duplicates")
    if facts is None:
        return
    yield Check(
        name="near-duplicates stay together",
        state=_level(facts, 0.01),
        sentence=f"{facts['judging'].capitalize()} images of which another split holds a near-duplicate{_drawn(facts)}",
        count=facts["images"],
        of=facts["of"],
    )
    if facts["copies"]:
        total = sum(run.facts["splits"].values())
        yield Check(
            name="copies stay together",
            state=level(facts["copies"], total, 0, 0.01),
            sentence="Images of which the given split puts an exact copy elsewhere",
            count=facts["copies"],
            of=total,
        )


def _level(facts: Mapping[str, Any], fail: float) -> State:
    """Any is a warning; more than a share a failure, surely more where images were drawn."""
    judge = sure_level if _is_sample(facts) else level
    return judge(facts["images"], facts["of"], 0, fail)


def _is_sample(facts: Mapping[str, Any]) -> bool:
    return facts["of"] < (facts.get("drawn_from") or 0)


def _drawn(facts: Mapping[str, Any]) -> str:
    """What is said of images that were drawn; nothing where all were compared."""
    if not _is_sample(facts):
        return ""
    share = wilson(facts["images"], facts["of"])
    return (
        f"; {facts['of']:,} were drawn of {facts['drawn_from']:,} by the hash of their content, so of all images "
        f"{100 * share.low:.2g} to {100 * share.high:.2g} % (95 % interval)"
    )


_MANY_COPIES = 0.05


def unknown_images(run: Run) -> Iterator[Check]:
    """Whether images of none of the classes are what they are taken for; nothing where the plan has none."""
    facts = run.facts.get("unknown")
    if facts is None:
        return
    near = (run.optional_facts("near_duplicates") or {}).get("unknown")
    if near is not None:
        yield Check(
            name="unknown images are others",
            bears_on="unknown images",
            state=_level(near, _MANY_COPIES),
            sentence=f"Images of none of the classes that are near-duplicates of audited ones{_drawn(near)}",
            count=near["images"],
            of=near["of"],
        )
    shared = facts["shared_classes"]
    named = f" ({', '.join(shared[:_NAMED])}{', …' if len(shared) > _NAMED else ''})" if shared else ""
    yield Check(
        name="unknown images are of no class",
        bears_on="unknown images",
        state="warn" if shared else "pass",
        sentence=f"Images of none of the classes whose own class is called like one of the model's{named}",
        count=facts["shared_images"],
        of=facts["images"],
    )


_NAMED = 3
_SLACK = 0.95
_MANY = 0.05


def directions(run: Run) -> Iterator[Check]:
    """Whether attacks find changes as small as a search along a straight line, of the same images and norm.

    A line is one of the ways an attack may go, so its minimal perturbation can only be an upper bound.
    """
    searches = [*section_searches(run)]
    straight = [entry for entry in searches if is_direction(entry)]
    for entry in (*(entry for entry in searches if not is_direction(entry)), *attack_searches(run)):
        lines = [minimal_changes(run, line, "line") for line in straight if line["norm"] == entry["norm"]]
        if lines:
            yield _shorter(minimal_changes(run, entry, "attack"), reduce(_either, lines), entry)


def _either(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The smaller of two lines' changes of the same images."""
    return pl.concat([one, other]).group_by("sample_id", maintain_order=True).min()


def _shorter(attack: pl.DataFrame, line: pl.DataFrame, entry: Entry) -> Check:
    """A twentieth more is no sign of weakness: an attack ends on one side of the edge, and counts its steps."""
    pairs, name = attack.join(line, on="sample_id"), display_name(entry["family"])
    found, along = pairs["attack"].to_numpy(), pairs["line"].to_numpy()
    behind = int((along < _SLACK * found).sum())
    return Check(
        name="attacks go no further than lines",
        state=sure_level(behind, len(pairs), _MANY, 1.0),
        sentence=f"Images that a straight line flips by a clearly smaller change than {name} does",
        count=behind,
        of=len(pairs),
    )


_MANY_EMPTY = 0.05


def map_checks(run: Run) -> Iterator[Check]:
    """Whether maps show anything, and anything of the weights."""
    entries = run.conditions("map")
    if not entries:
        return
    tables = [run.rows(entry["name"]) for entry in entries]
    empty, total = sum(int((values(rows, f"{EXPLAIN}empty") > 0).sum()) for rows in tables), sum(map(len, tables))
    yield Check(
        name="maps are not empty",
        state=sure_level(empty, total, _MANY_EMPTY, 1.0),
        sentence="Maps that are zero everywhere and left out of what is said of maps",
        count=empty,
        of=total,
    )
    sane = sanities(run)
    if sane:
        stuck = [name for name, found in sane.items() if found.state != "pass"]
        named = f" ({', '.join(stuck)})" if stuck else ""
        yield Check(
            name="maps change with the weights",
            state="warn" if stuck else "pass",
            sentence=f"Kinds of map not shown to change when the weights are drawn at random{named}",
            count=len(stuck),
            of=len(sane),
        )


_LUCK, _UNUSUAL = 0.01, 0.05
"""Chance below which so many wrong answers are taken for a broken guarantee, or of several shares one is warned of."""


def guarantee_checks(run: Run) -> Iterator[Check]:
    """Whether as few answers are wrong on the test split as was guaranteed."""
    if run.guard is None:
        return
    if not run.has_test_rows:
        yield Check(
            name=CONFIRMATION,
            bears_on="guarantee",
            state="warn",
            sentence="No untouched images are left to confirm the guarantee: all labels were needed to make it",
        )
        return
    yield confirmation(run.guard, guard_parts(run, run.guard, run.rows("clean", "test")))


CONFIRMATION = "unseen images confirm the guarantee"


def confirmation(guard: CertifiedPolicy, parts: tuple[Part, ...]) -> Check:
    """Whether the shares that a guarantee is about, counted on the test split, are what was guaranteed."""
    of_group = ", one image of each group" if guard.certificate.unit == "group" else ""
    worst = min(parts, key=_luck)
    return Check(
        name=CONFIRMATION,
        bears_on="guarantee",
        state=_confirmed(parts),
        sentence=f"Wrong among the answered images of the untouched test split{_subject(guard, worst)}{of_group}",
        count=worst.errors,
        of=worst.of,
    )


def _luck(part: Part) -> float:
    """The chance of so many errors or more were the risk exactly the one guaranteed; 1 where nothing was counted."""
    return p_value(part.of - part.errors, part.of, 1 - part.risk) if part.of else 1.0


def _confirmed(parts: tuple[Part, ...]) -> State:
    """Fails where chance would hardly make so many errors; of several parts the worst is expected to look bad."""
    if any(_luck(part) < _LUCK / len(parts) for part in parts):
        return "fail"
    if len(parts) > 1:
        return "warn" if any(_luck(part) < _UNUSUAL / len(parts) for part in parts) else "pass"
    return "warn" if any(part.errors > part.risk * part.of for part in parts) else "pass"


def _subject(guard: CertifiedPolicy, worst: Part) -> str:
    """Which part is counted, where there are several."""
    if isinstance(guard, ClassThreshold):
        return f": of all images of the class {worst.name!r}"
    return f", at the site {worst.name!r}" if worst.name is not None else ""


def _bearing_on(figures: Bearing, found: Iterable[Check]) -> Iterator[Check]:
    return (check.model_copy(update={"bears_on": figures}) for check in found)


def checks(run: Run) -> tuple[Check, ...]:
    """Every check the run has data for, the model's first, the attacks' and the maps' next, the guarantee's last.

    Records speak of all attacked images, so a trial of the same name on some of them is left out.
    """
    door = [Check(**entry) for entry in read_json(run.path / "facts" / "preflight.json")]
    recorded = [
        *door,
        *data(run),
        *model_failures(run),
        *copies(run),
        *bursts(run),
        *labels(run),
        *preprocessing_checks(run),
        *unknown_images(run),
        *_bearing_on("attacks", (*attack_checks(run), *directions(run), *proof_checks(run))),
        *guard_attack_checks(run),
        *_bearing_on("maps", map_checks(run)),
    ]
    names = {check.name for check in recorded}
    tried = (check for check in sanity_checks(run) if check.name not in names)
    return (*recorded, *tried, *guarantee_checks(run))
