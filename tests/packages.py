"""Installed packages, made in a folder: modules beside the metadata that an installer would write."""

import textwrap


def install(folder, name, entry_points, modules=None, version="1.0"):
    """`entry_points`: group → name → line; `modules`: file name → text."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{each} = {line}\n" for each, line in lines.items())
        for group, lines in entry_points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    for file, text in (modules or {}).items():
        (folder / file).write_text(textwrap.dedent(text))
    return folder
