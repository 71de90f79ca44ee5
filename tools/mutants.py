"""Break the code on purpose, one small change at a time, and count how many changes the tests notice.

    python tools/mutants.py [--seed 0] [--count 100] [--jobs 2] [--file PATTERN] [--show]

mutmut finds the changes (mutants) of `metrics`, `policies`, `signals`, `attacks` and `analysis`: in functions, and in
what stands outside them, such as thresholds and default values. A sample is drawn by the seed; a mutant keeps its place
in the draw while its own code stays. Each is written into a copy of the tree, never into the tree, and the tests of its
room and the examples of its docstrings run against it, those that run the changed statement first. A mutant is killed
when a test fails, or when the tests take four times their usual processor time.

Not drawn, because no user would notice or these tests could not: what stands in `raise` and `assert`, texts with a
space in them, `strict=` of `zip`, `device=` (tests have one device), "nan" and "inf" in `float`, aliases and first
arguments of `cast` (they are for the type checker), `__all__` (`tests/house` pins it). mutmut itself leaves out
docstrings, annotations, decorators and decorated functions. Mutants that change nothing are listed, each with its
reason, in `tools/equivalent_mutants.toml`.

Prints a line for each mutant, then the survivors with their change; the last line is JSON. Exit status: 0 when at least
nine of ten are killed, 1 when fewer are, 2 when the tests fail unbroken.
"""

import argparse
import ast
import contextlib
import difflib
import fnmatch
import hashlib
import json
import os
import re
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from mutant_copies import Copies, Room
from mutmut.mutation.file_mutation import Mutation, create_mutations, deep_replace

from demur.metrics import wilson

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("metrics", "policies", "signals", "attacks", "analysis")
EQUIVALENT = ROOT / "tools" / "equivalent_mutants.toml"
ENOUGH = 0.9


@dataclass(frozen=True, order=True)
class Draw:
    """A mutant's place in the draw: the file's path and the number that mutmut gives it there."""

    rank: str
    path: str
    number: int


@dataclass(frozen=True)
class Mutant:
    """One changed file: its whole text, the line of the change, and the change as a diff."""

    path: str
    line: int
    text: str
    diff: str
    before: str
    after: str


@dataclass(frozen=True)
class Verdict:
    """What the tests said of a mutant, and after how many seconds."""

    mutant: Mutant
    killed: bool
    seconds: float


# Which changes there are


def draws(path: str, seed: int) -> list[Draw]:
    """Every mutant of a file that may be drawn. The rank hangs on the change and on nothing else in the file."""
    module, mutations, _, _ = create_mutations(path, (ROOT / path).read_text())
    spared = _spared(module)
    seen: Counter[str] = Counter()
    found = []
    for number, mutation in enumerate(mutations):
        function = mutation.contained_by_top_level_function
        owner = function.name.value if isinstance(function, cst.FunctionDef) else ""
        change = [module.code_for_node(node) for node in (mutation.original_node, mutation.mutated_node)]
        changed = "\x1f".join((path, owner, *change))
        seen[changed] += 1
        if not _is_spared(mutation, spared):
            rank = hashlib.sha256(f"{seed}\x1f{changed}\x1f{seen[changed]}".encode()).hexdigest()
            found.append(Draw(rank, path, number))
    return found


def _nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _spared(module: cst.Module) -> set[int]:
    """The nodes in which no change counts, by identity."""
    return {id(node) for top in _nodes(module) for inside in _excluded(top) for node in _nodes(inside)}


def _excluded(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if isinstance(node, cst.Raise | cst.Assert) or _is_prose(node) or _is_declaration(node):
        yield node
    elif isinstance(node, cst.Call):
        called = node.func.value if isinstance(node.func, cst.Name) else ""
        for at, argument in enumerate(node.args):
            keyword = argument.keyword.value if argument.keyword else ""
            number = called == "float" and isinstance(argument.value, cst.SimpleString)
            if number or (called, at) == ("cast", 0) or keyword == "device" or (called, keyword) == ("zip", "strict"):
                yield argument


def _is_declaration(node: cst.CSTNode) -> bool:
    """A type alias or `__all__`."""
    if isinstance(node, cst.AnnAssign):
        return any(isinstance(part, cst.Name) and part.value == "TypeAlias" for part in _nodes(node.annotation))
    return isinstance(node, cst.Assign) and "__all__" in {getattr(aim.target, "value", "") for aim in node.targets}


def _is_prose(node: cst.CSTNode) -> bool:
    """A text for people: a name of a column, a field or a file has no space in it."""
    if isinstance(node, cst.SimpleString):
        return " " in node.value
    return isinstance(node, cst.FormattedString) and any(
        isinstance(part, cst.FormattedStringText) and " " in part.value for part in node.parts
    )


def _is_spared(mutation: Mutation, spared: set[int]) -> bool:
    """Whether it stands in an excluded place, or changes a call in an excluded argument alone."""
    if id(mutation.original_node) in spared:
        return True
    if not isinstance(mutation.original_node, cst.Call) or not isinstance(mutation.mutated_node, cst.Call):
        return False
    kept = {id(argument) for argument in mutation.mutated_node.args}
    gone = [argument for argument in mutation.original_node.args if id(argument) not in kept]
    return bool(gone) and all(id(argument.value) in spared for argument in gone)


def mutant(draw: Draw) -> Mutant | None:
    """The changed file; None where the change is no Python or leaves the program as it was."""
    text = (ROOT / draw.path).read_text()
    module, mutations, _, _ = create_mutations(draw.path, text)
    change = mutations[draw.number]
    changed = deep_replace(module, change.original_node, change.mutated_node)
    assert isinstance(changed, cst.Module)
    try:
        if ast.dump(ast.parse(changed.code)) == ast.dump(ast.parse(text)):
            return None
    except SyntaxError:
        return None
    hunk, *diff = list(difflib.unified_diff(text.splitlines(), changed.code.splitlines(), lineterm="", n=0))[2:]
    sides = ["\n".join(row[1:].strip() for row in diff if row[0] == sign) for sign in "-+"]
    return Mutant(draw.path, int(re.findall(r"\d+", hunk)[0]), changed.code, "\n".join(diff), *sides)


def equivalents() -> set[tuple[str, str, str]]:
    """Changes that are known to change nothing: file, lines before, lines after."""
    listed = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    return {(entry["file"], entry["before"].strip(), entry["after"].strip()) for entry in listed}


def sample(files: Sequence[str], seed: int, size: int, jobs: int) -> tuple[list[Mutant], int]:
    """The first `size` mutants of the draw, without those that change nothing, and how many could be drawn."""
    listed = equivalents()
    with ProcessPoolExecutor(jobs) as pool:
        every = sorted(draw for found in pool.map(draws, files, [seed] * len(files)) for draw in found)
        found: list[Mutant] = []
        for start in range(0, len(every), size):
            first = [one for one in pool.map(mutant, every[start : start + size]) if one is not None]
            found += [one for one in first if (one.path, one.before, one.after) not in listed]
            if len(found) >= size:
                break
    return found[:size], len(every)


# The command


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description="count how many small changes of the code the tests notice")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--count", type=int, default=100, help="mutants to draw")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="mutants tested at a time")
    parser.add_argument("--file", default="*", help="files to draw from, as a pattern such as */metrics/rank*")
    parser.add_argument("--python", default=sys.executable, help="runs the tests")
    parser.add_argument("--show", action="store_true", help="show the changes that were drawn and test nothing")
    return parser.parse_args()


def main() -> int:
    """Draw, test, tell."""
    asked, begun = arguments(), time.monotonic()
    every = (str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / "src/demur" / room).rglob("*.py"))
    files = sorted(path for path in every if fnmatch.fnmatch(path, asked.file))
    with contextlib.chdir(ROOT):  # where mutmut looks for its settings
        drawn, possible = sample(files, asked.seed, asked.count, asked.jobs)
    if asked.show:
        print("\n\n".join(f"{one.path}:{one.line}\n{one.diff}" for one in drawn))
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = Copies(ROOT, Path(folder), asked.jobs, asked.python)
        verdicts = list(judged(copies, drawn, asked.jobs))
        copies.close()
    return tell(verdicts, asked.seed, possible, (time.monotonic() - begun) / 60)


def judge(copies: Copies, rooms: dict[str, Room], one: Mutant) -> Verdict:
    """Run the tests of the file's room against the mutant."""
    begun = time.monotonic()
    killed = copies.kill(rooms[Path(one.path).parts[2]], one.path, one.line, one.text)
    return Verdict(one, killed, time.monotonic() - begun)


def judged(copies: Copies, drawn: Sequence[Mutant], jobs: int) -> Iterator[Verdict]:
    """A verdict on each, in the order in which they come."""
    with ThreadPoolExecutor(jobs) as pool:
        names = sorted({Path(one.path).parts[2] for one in drawn})
        rooms = dict(zip(names, pool.map(copies.unbroken, names), strict=True))
        waiting = [pool.submit(judge, copies, rooms, one) for one in drawn]
        for at, done in enumerate(as_completed(waiting), 1):
            verdict = done.result()
            word = "killed  " if verdict.killed else "SURVIVED"
            print(f"{at:4} {word} {verdict.seconds:6.1f} s  {verdict.mutant.path}:{verdict.mutant.line}", flush=True)
            yield verdict


def tell(verdicts: Sequence[Verdict], seed: int, possible: int, minutes: float) -> int:
    """The survivors, the share, and the same as JSON."""
    alive = sorted((one.mutant for one in verdicts if not one.killed), key=lambda one: (one.path, one.line))
    for one in alive:
        print(f"\n{one.path}:{one.line}\n{one.diff}")
    share = wilson(len(verdicts) - len(alive), len(verdicts))
    print(
        f"\n{len(verdicts) - len(alive)} of {len(verdicts)} mutants killed: {share.value:.1%} "
        f"(95 % interval {share.low:.1%} to {share.high:.1%}), in {minutes:.0f} minutes, "
        f"drawn from {possible:,} by seed {seed}"
    )
    survivors = [{"file": one.path, "line": one.line, "diff": one.diff} for one in alive]
    facts = {"seed": seed, "count": len(verdicts), "killed": len(verdicts) - len(alive), "share": share.value}
    print(json.dumps(facts | {"drawn_from": possible, "minutes": round(minutes, 1), "survivors": survivors}))
    return int(not share.value >= ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
