"""Vega, Vega-Lite and Vega-Embed as one script, bundled once for a user and not for every report."""

import contextlib
import hashlib
import os
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

import vl_convert

from demur.errors import RunError
from demur.files import write_atomically

_EMBED = "window.vegaEmbed = vegaEmbed;"


@cache
def vega_script() -> str:
    """The script, safe to inline.

    Bundling takes 1.5 seconds of a core, so what comes out is kept in `demur/` of the user's cache folder
    (`XDG_CACHE_HOME`, else `~/.cache`), in a file named by what makes it and by its own SHA-256. One that is not what
    its name says, or of another version, is not read; where nothing can be kept it is bundled again.
    """
    folder, stem = _folder(), f"vega-{version('vl-convert-python')}"
    kept = None if folder is None else _kept(folder, stem)
    if kept is not None:
        return kept
    script = vl_convert.javascript_bundle(_EMBED).replace("</script", "<\\/script").strip()
    if folder is not None:
        _keep(folder, stem, script.encode())
    return script


def _folder() -> Path | None:
    """None for a user without a home."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(named) if named else Path.home() / ".cache") / "demur"
    except RuntimeError:
        return None


def _keep(folder: Path, stem: str, content: bytes) -> None:
    with contextlib.suppress(RunError):  # a disk that is full or not ours is no reason to have no report
        write_atomically(folder / f"{stem}-{hashlib.sha256(content).hexdigest()}.js", content)


def _kept(folder: Path, stem: str) -> str | None:
    """What was kept, if it is whole."""
    for path in sorted(folder.glob(f"{stem}-*.js")) if folder.is_dir() else ():
        digest = re.search(r"-([0-9a-f]{64})\.js$", path.name)
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if digest is not None and hashlib.sha256(content).hexdigest() == digest[1]:
            return content.decode()
    return None
