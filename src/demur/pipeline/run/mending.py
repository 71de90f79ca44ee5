"""What is put right in a run folder before anybody goes on with it, and which of its files follow from which.

A file that was changed is vouched for no more, nor is what follows from it: it is worked out again. What a run cannot
work out again, or is told apart by, stays sealed as it was written until the same is there again: readers refuse the
folder meanwhile.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from demur import seal
from demur.errors import RunError
from demur.files import JOURNAL, read_json, whole_lines, write_atomically, write_json
from demur.pipeline.run.kept_signals import ORIGIN, damaged_signals
from demur.records import manifest_entries

POLICIES, TOLERANCES = "facts/policies.json", "facts/tolerances.json"
FIXED = (TOLERANCES, POLICIES)
"""What the clean shards fix: how far a score moves, and the thresholds and certificates that go by it. One is never
fitted without the other."""

LATE_POLICIES = "facts/late_policies.json"
"""Policies that were fitted on attacked or corrupted tune images, once these were measured."""

SHEETS = "facts/pictures.json"
PICTURED = (
    "facts/gallery.json",
    "facts/suspects.json",
    "facts/corruptions.json",
    "facts/severities.json",
    "facts/overlays.json",
    SHEETS,
)
_GUARD_ATTACK = "facts/guard_attack.json"
"""Written once every size is there, so that none is left to measure where it is."""

_KEPT = ("plan.toml", "run.json", ORIGIN)


def mend_journal(journal: Path) -> None:
    """Drop lines that are not whole, so that the next one does not follow upon half of one."""
    if journal.is_file():
        content = "".join(f"{line}\n" for line in whole_lines(journal)).encode()
        if content != journal.read_bytes():
            write_atomically(journal, content)


def mend_manifest(run: Path) -> None:
    """Of a run that is not finished, keep those entries of the manifest whose shards are there.

    Its shards stand in the journal, so that nothing is lost with a manifest that is gone or odd.
    """
    path = run / seal.MANIFEST
    if seal.is_intact(run, seal.MANIFEST) or not (path.exists() or (run / JOURNAL).exists()):
        return
    try:
        listed = read_json(path)
    except RunError:
        listed = None
    whole = [entry for entry in manifest_entries(listed) if is_there(run, entry)]
    if whole != listed:
        write_json(path, whole)


def is_there(run: Path, entry: Mapping[str, Any]) -> bool:
    """Whether the files of a shard are as its entry says."""
    return all(seal.file_sha256(run / name) == sha256 for name, sha256 in seal.shard_files(entry))


def mend_files(run: Path) -> tuple[str, ...]:
    """The files that were changed since they were written; what they hold will be worked out again.

    Journals keep their whole lines. The plan, `run.json` and what says where fitted signals are from stay sealed: only
    what they held, or signals that are fitted again, may take their place.
    """
    found = [name for name in seal.harmed(run) if not seal.is_derived(name)]
    found += [name for name in damaged_signals(run) if name not in found]
    for name in set(found) & set(seal.JOURNALS):
        lines = "".join(f"{line}\n" for line in whole_lines(run / name))
        seal.write_sealed(run, {name: lines.encode()})
    if found:
        sealed = seal.read_seal(run) or {}
        derived = [name for name in sealed if seal.is_derived(name)]
        again = [name for name in found if name not in {*seal.JOURNALS, *_KEPT}]
        seal.unseal(run, [*again, *_followers(found), *derived, seal.MANIFEST])
    return tuple(found)


def _followers(found: Iterable[str]) -> set[str]:
    """What is worked out again together with files that were changed; whoever fits policies sees to what follows."""
    again = set[str]()
    for name in found:
        if name.startswith("facts/guard_attack"):
            again.add(_GUARD_ATTACK)
        if name in PICTURED or name.startswith("thumbs/"):
            again |= set(PICTURED)
    return again


def of_policies(sealed: Iterable[str]) -> list[str]:
    """The files that follow from the policies: what attackers of a guard found."""
    return [name for name in sealed if name.startswith("facts/guard_attack")]
