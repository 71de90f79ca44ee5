"""A run folder, opened for reading: rows, shares, means and ranks."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.analysis.file_shapes import check_shapes
from demur.analysis.quantity import Quantity
from demur.analysis.row_design import alike, share_of
from demur.analysis.row_sample import MeasuredRows, RowSample, clean_logits
from demur.errors import RunError
from demur.files import read_json
from demur.metrics.label_noise import LabelNoise, label_noise
from demur.policies import CERTIFIED_POLICIES, Calibration, CertifiedPolicy, Policy, Sited, decide, load_policy
from demur.records import (
    ALIKE,
    BATCH_SIZE,
    LOGIT,
    META,
    STANDS_FOR,
    groups,
    read,
    read_with_parts,
    shard_entries,
    wrong,
)
from demur.seal import FILE, MANIFEST, changed, verify, verify_shards

Flags: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
BASELINE = "msp"

GROUP = "group"
"""The column of the units of independence."""


def score(rows: pl.DataFrame, signal: str) -> Floats:
    """One signal's scores, higher = more uncertainty."""
    return np.asarray(rows[f"signal.{signal}"].to_numpy(), np.float64)


def share(flags: Flags, rows: pl.DataFrame, several: int | None = None) -> Quantity:
    """The share of rows that are flagged, with its interval, per image or per group; for all of `several` at once.

    Of rows that say how they were drawn it is the share of all that they stand for.
    """
    return share_of(flags, rows, several)


def open_run(path: Path) -> "Run":
    """A finished run every file of which is as the audit wrote it.

    Raises:
        RunError: the folder is no run, not finished, or a file in it was changed; it is named.
    """
    if not (path / "run.json").exists():
        raise _no_run(path)
    found = verify(path)
    check_shapes(path, found)
    run, entries = Run(path, None if found is None else frozenset(found)), shard_entries(path)
    for name, planned in run.planned_rows.items():
        rows = sum(entry["rows"] for entry in entries if entry["condition"] == name)
        if rows != planned:
            raise RunError(f"{path} is not finished: the condition {name} has {rows} of {planned} rows. {_GO_ON}")
    if found is not None and MANIFEST not in found:
        raise RunError(f"{path} is not finished: it was stopped after its last condition. {_GO_ON}")
    verify_shards(path, entries)
    return run


def _no_run(path: Path) -> RunError:
    if (path / FILE).exists():
        return changed(path, "run.json")
    return RunError(
        f"{path} is not a run folder: it has no run.json ({path / 'run.json'} does not exist). Name a folder that an "
        "audit has begun, such as one under runs/."
    )


_GO_ON = "Run the audit to its end; the same command continues."


@dataclass(frozen=True)
class Run:
    """Everything an audit left behind; `conditions` and `signals` are the facts the audit wrote about them."""

    path: Path
    files: frozenset[str] | None = None
    """Those that the audit wrote; others are not read. None: whatever is there."""
    sample: RowSample | None = None
    """What stands for all rows, where there are too many of them."""

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """The content of run.json."""
        return read_json(self.path / "run.json")

    @cached_property
    def policy_facts(self) -> Sequence[Mapping[str, Any]]:
        """Every policy of the plan, fitted or refused, those too that awaited attacked or corrupted images."""
        late = {entry["name"]: entry for entry in self.optional_facts("late_policies") or ()}
        return [late.get(entry["name"], entry) for entry in read_json(self.path / "facts" / "policies.json")]

    def optional_facts(self, name: str) -> Any:
        """What `facts/<name>.json` says, which not every audit has something to say in; None where there is none."""
        return self.optional_file(f"facts/{name}.json")

    def optional_file(self, name: str) -> Any:
        """What a file of JSON says; None where the audit wrote none."""
        return read_json(self.path / name) if self._has(name) else None

    def _has(self, name: str) -> bool:
        return (self.path / name).exists() if self.files is None else name in self.files

    def thumb(self, name: str) -> str | None:
        """A picture of `thumbs/` as a data URI; None where it was not kept."""
        if not self._has(f"thumbs/{name}"):
            return None
        content = (self.path / "thumbs" / name).read_bytes()
        return f"data:image/webp;base64,{base64.b64encode(content).decode()}"

    @property
    def planned_rows(self) -> Mapping[str, int]:
        """How many rows each condition has once it is measured; earlier versions did not say."""
        everyone, attacked = sum(self.facts["splits"].values()), self.facts["attacked"]
        return {
            entry["name"]: entry.get("rows", attacked if entry["kind"] == "attack" else everyone)
            for entry in self.facts["conditions"]
        }

    @cached_property
    def _tables(self) -> Mapping[str, pl.DataFrame]:
        """The rows of every condition without their logits, which are as many columns as there are classes."""
        if self.sample is not None:
            return self.sample.tables
        tables = {}
        for entry in self.facts["conditions"]:
            name = entry["name"]
            tables[name] = (
                read_with_parts(self.path, name, LOGIT)
                if self.planned_rows[name]
                else read(self.path, "clean", LOGIT).clear()
            )
        return tables

    def rows(self, condition: str, split: str | None = None) -> pl.DataFrame:
        """The rows of a condition that could be measured, of one split if asked.

        An image that failed under one condition takes part in no other that is compared with it: a clean or corrupted
        one in none, an attacked one in no attack. Where rare strata have more than their share of the rows these are
        the ones that were drawn alike, so that whoever counts them need not know; `drawn` has all.
        """
        return alike(self.drawn(condition, split))

    def drawn(self, condition: str, split: str | None = None) -> pl.DataFrame:
        """The same with all rows that were measured; where some stand for more than others they say so."""
        found = self._measured[condition]
        return found.every if split is None else found.of(split)

    @cached_property
    def _measured(self) -> Mapping[str, MeasuredRows]:
        """The rows that could be measured of every condition."""
        found = {}
        for name, table in self._tables.items():
            lost = self.lost(name)
            table = table if STANDS_FOR in table.columns else alike(table)
            whole = table["error"].null_count() == len(table)  # then they are not held twice
            rows = table if whole else table.filter(pl.col("error").is_null())
            found[name] = MeasuredRows(rows.filter(~pl.col("sample_id").is_in(lost)) if lost else rows)
        return found

    @cached_property
    def weighted(self) -> frozenset[str]:
        """The conditions of which more images of rare strata were drawn, so that rows have design weights."""
        return frozenset(entry["name"] for entry in self.facts["conditions"] if entry.get("design"))

    @cached_property
    def every_clean(self) -> pl.DataFrame:
        """Clean rows to look up what the model made of images of other conditions, as they are.

        Where a run is sampled, images of rare strata are among them that `rows` leaves out, for they would be too many.
        """
        if self.sample is None or ALIKE not in self._tables["clean"].columns:
            return self.rows("clean")
        found = self._tables["clean"].filter(pl.col("error").is_null(), ~pl.col("sample_id").is_in(self.lost("clean")))
        return found.drop(ALIKE)

    @property
    def has_test_rows(self) -> bool:
        """Whether some rows had no part in anything; below 600 images there are none."""
        return bool(self.facts["splits"].get("test"))

    def unfitted_rows(self, condition: str = "clean") -> pl.DataFrame:
        """The rows for numbers that no label was fitted for: the test rows, or all but the fit rows without these."""
        if self.has_test_rows:
            return self.rows(condition, "test")
        return self.rows(condition).filter(pl.col("split") != "fit")

    @cached_property
    def _forward(self) -> frozenset[str]:
        """The conditions under which every image is measured, by forward passes alone."""
        return frozenset(
            entry["name"] for entry in self.facts["conditions"] if entry["kind"] in {"clean", "corruption"}
        )

    def lost(self, condition: str) -> list[str]:
        """The images that take no part under a condition, for the model failed on them under another."""
        return self._lost[1 if condition in self._forward else 0]

    @cached_property
    def _lost(self) -> tuple[list[str], list[str]]:
        """The images on which the model failed: under any condition, and clean or corrupted."""
        under = {name: self.failures(name)["sample_id"].to_list() for name in self._tables}
        forward = {row for name in self._forward for row in under[name]}
        return sorted(forward.union(*under.values())), sorted(forward)

    def failures(self, condition: str) -> pl.DataFrame:
        """The rows of a condition on which the model failed; their images could be read."""
        rows = self._tables[condition]
        failed = pl.col(BATCH_SIZE).is_not_null() if BATCH_SIZE in rows.columns else pl.lit(False)  # noqa: FBT003 - a value
        return rows.filter(pl.col("error").is_not_null() & failed)

    def planned(self, condition: str) -> int:
        """How many rows a condition has, those that failed among them."""
        return self.sample.effort_of(condition, "rows") if self.sample else len(self._tables[condition])

    def rebatched(self, condition: str) -> int:
        """How many rows of a condition were measured in another batch than planned."""
        if self.sample is not None:
            return self.sample.effort_of(condition, "rebatched")
        rows = self._tables[condition]
        return rows.filter(pl.col("error").is_null())[BATCH_SIZE].count() if BATCH_SIZE in rows.columns else 0

    @cached_property
    def failure_count(self) -> int:
        """How many images could not be read."""
        return self._tables["clean"]["error"].count() - len(self.failures("clean"))

    @cached_property
    def passes(self) -> tuple[int, int]:
        """All forwards and backwards made."""
        forwards, backwards = zip(*map(self.passes_of, self._tables), strict=True)
        return sum(forwards), sum(backwards)

    def passes_of(self, condition: str) -> tuple[int, int]:
        """Forwards and backwards of all rows of a condition, those that failed among them."""
        if self.sample is not None:
            return self.sample.effort_of(condition, "forwards"), self.sample.effort_of(condition, "backwards")
        rows = self._tables[condition]
        return int(rows["forwards"].sum()), int(rows["backwards"].sum())

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return tuple(self.facts["classes"])

    @property
    def signals(self) -> tuple[str, ...]:
        """Canonical names of the signals."""
        return tuple(entry["name"] for entry in self.facts["signals"])

    @property
    def baseline(self) -> str:
        """The signal that stands beside every other: msp, or the first of a table of scores that has none."""
        return BASELINE if BASELINE in self.signals else self.signals[0]

    def conditions(self, kind: str | None = None, keep: str | None = None) -> list[Mapping[str, Any]]:
        """The facts of the conditions of a kind, of attacks only those that keep a point of a sort.

        Without a kind they are the conditions proper: clean, attack and corruption. `epsilon`, `map` and `intervention`
        are measured on images of their own, without signals; `unknown` is of other images, which have no labels.
        """
        kinds = {kind} if kind else {"clean", "attack", "corruption"}
        return [
            entry
            for entry in self.facts["conditions"]
            if entry["kind"] in kinds and (keep is None or (entry["kind"] == "attack" and entry["keep"] == keep))
        ]

    @cached_property
    def policies(self) -> Mapping[str, Policy]:
        """Fitted policies by name; refused ones are left out."""
        return {entry["name"]: load_policy(entry["policy"]) for entry in self.policy_facts if "policy" in entry}

    @cached_property
    def guard(self) -> CertifiedPolicy | None:
        """The first policy with a guarantee, None where none was issued."""
        return next((policy for policy in self.policies.values() if isinstance(policy, CERTIFIED_POLICIES)), None)

    @property
    def chosen_policy(self) -> str | None:
        """The certified policy by name, or else the first that was fitted; None where no policy abstains."""
        certified = (name for name, policy in self.policies.items() if policy is self.guard)
        return next(certified, None) or next(iter(self.policies), None)

    @cached_property
    def refusal(self) -> Mapping[str, Any] | None:
        """Why the first guarantee that was refused was, and by which `signal`."""
        found = next((entry for entry in self.policy_facts if "refusal" in entry), None)
        return None if found is None else {"signal": found.get("signal"), **found["refusal"]}

    @property
    def has_logits(self) -> bool:
        """Whether logits were kept; a run made of a table of scores has none."""
        return bool(self.logits.shape[1])

    @cached_property
    def logits(self) -> Floats:
        """Of the clean rows, (rows, classes); without a column where none were kept."""
        kept = self.rows("clean")["sample_id"].to_list()
        if self.sample is None:
            return clean_logits(self.path, self._tables["clean"]["sample_id"].is_in(kept), len(self.classes))
        table = self.sample.logits
        names = [name for name in (f"{LOGIT}{k}" for k in range(len(self.classes))) if name in table.columns]
        return table.filter(pl.col("sample_id").is_in(kept)).select(names).to_numpy()

    @cached_property
    def label_noise(self) -> LabelNoise:
        """What the answers to all clean rows say of their labels."""
        rows = self.rows("clean")
        return label_noise(self.logits, rows["label"].to_numpy(), groups(rows))

    def accepts(self, policy: Policy, rows: pl.DataFrame) -> Flags:
        """Which rows a policy answers, by their scores and, where it goes by that, their sites."""
        sites = self.sites(policy.column, rows).to_numpy() if isinstance(policy, Sited) else None
        return decide(policy, {name: score(rows, name) for name in policy.signals}, sites).accepted

    def sites(self, column: str, rows: pl.DataFrame) -> pl.Series:
        """Where each row comes from, null where that is not known: a column of the metadata, or the group."""
        name = column if column == GROUP else f"{META}{column}"
        return rows[name] if name in rows.columns else pl.Series(name, [None] * len(rows), dtype=pl.String())


def independent_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """One image of each group, chosen by its id alone as the certificate does; all rows where none has a group."""
    if groups(rows) is None:
        return rows
    every = np.arange(len(rows), dtype=np.float64)
    ids = rows["sample_id"].to_list()
    one = Calibration(scores=every, wrong=wrong(rows), groups=groups(rows), ids=ids).one_per_group()
    return rows[one.scores.astype(np.intp)]
