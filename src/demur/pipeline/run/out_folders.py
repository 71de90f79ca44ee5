"""Which folders a run, or a part of one, may be written into: empty ones and its own, before anything is written."""

from pathlib import Path

from demur import seal
from demur.errors import InputError, RunError
from demur.files import JOURNAL, read_json
from demur.pipeline.run.flight import AT, CRASH

PART = "facts/part.json"
"""Which part a folder is, and of which frozen folder its attacked and corrupted shards are."""

_POLICIES = "facts/policies.json"

_OWN = frozenset(
    {
        *("lock", AT, CRASH, JOURNAL, *seal.JOURNALS, "run.json", seal.MANIFEST, "records", "parts", "facts", "fitted"),
        *("thumbs", "timings", "tables", "figures", "opened", "aggregates", "results.json", "report.html", "junit.xml"),
        *("summary.md", "lost+found"),
    }
)
"""What a folder may hold whose plan was not written yet, as a first start leaves it that was killed."""

_NAMED = 3


def refuse_others(path: Path) -> None:
    """Refuse a folder that has files and is no run folder, such as one of images.

    Raises:
        InputError: it is none.
        RunError: it belongs to a training or an export.
    """
    if not path.is_dir() or (path / seal.FILE).is_file():
        return
    seal.refuse_foreign(path, "plan.toml")
    if all((path / name).is_file() for name in ("plan.toml", "run.json")):
        return  # of a version that sealed nothing
    other = sorted(each.name for each in path.iterdir() if each.name not in _OWN and not each.name.startswith("."))
    if other:
        more = f" and {len(other) - _NAMED} more" if len(other) > _NAMED else ""
        raise InputError(
            f"{path} is no run folder, and holds {', '.join(other[:_NAMED])}{more}, which a run would mix its files "
            "with. Choose an empty folder or a new one with --out."
        )


def refuse_part(path: Path, doing: str) -> None:
    """Refuse a folder that is a part of an audit where a whole run is meant.

    Raises:
        RunError: it is one.
    """
    if (path / PART).is_file():
        raise RunError(
            f"{path} is part {_number(path)} of an audit, and {doing} would make it the run. Choose another folder, or "
            f"go on with the part: demur audit … --shard {_number(path)} --out {path}"
        )


def refuse_run(path: Path) -> None:
    """Refuse a folder that is a run where a part of one is meant.

    Raises:
        RunError: thresholds are fixed in it, or it is finished.
    """
    if is_run(path):
        raise RunError(
            f"{path} is a run that is frozen or finished, and --shard would make it a part. Choose another folder with "
            "--out, or leave out --shard to go on with the run."
        )


def is_run(path: Path) -> bool:
    """Whether a folder is a run that is frozen or finished, which no part ever is."""
    return not (path / PART).is_file() and any((path / name).is_file() for name in (_POLICIES, "results.json"))


def _number(path: Path) -> str:
    try:
        found = read_json(path / PART)
    except RunError:
        found = None
    return str(found.get("part", "i/N")) if isinstance(found, dict) else "i/N"
