"""The commands of an audit in parts, in their order: for a shell, as SLURM arrays, Kubernetes jobs or a Makefile."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import PurePath

from demur.errors import InputError

_MOST = 100_000
_ARRAY = 1_000
"""Jobs of one SLURM array that most clusters take (`MaxArraySize` is 1001 by default)."""


class ScriptFormat(StrEnum):
    """What the commands are written for."""

    COMMANDS = "commands"
    SLURM = "slurm"
    KUBERNETES = "kubernetes"
    MAKE = "make"


def shard_script(arguments: Sequence[str], count: int | None, wanted: ScriptFormat, *, estimate: bool = False) -> str:
    """The commands that measure a plan in `count` parts, nothing where none is said.

    Args:
        arguments: those of `demur plan`; what asks for the script is left out of them.
        count: how many parts.
        wanted: what they are written for.
        estimate: whether an estimate is asked for, too.

    Raises:
        InputError: no such number of parts, none beside what runs them, an estimate beside them, or the plan is in the
            file that the script writes.
    """
    if count is None:
        if wanted is not ScriptFormat.COMMANDS:
            raise InputError(f"--as {wanted.value} says what runs the parts of a plan. Say how many with --shards N.")
        return ""
    if estimate:
        raise InputError(
            "--shards prints the commands of a plan in parts, --estimate what the plan will take; got both. Ask one "
            "after the other: the estimate counts parts on other machines by --machines."
        )
    most = _ARRAY if wanted is ScriptFormat.SLURM else _MOST
    if not 1 <= count <= most:
        raise InputError(f"--shards is a number of parts from 1 to {most:,} for --as {wanted.value}; got {count}.")
    if any(PurePath(word.removeprefix("--plan=")).name == "shards.toml" for word in arguments):
        raise InputError(
            "the commands write the plan to shards.toml, and would read it there. Give yours another name."
        )
    return _SCRIPTS[wanted](shlex.join(["demur", "plan", *_of_the_plan(arguments)]), count)


def _of_the_plan(arguments: Sequence[str]) -> Iterator[str]:
    left = iter(arguments)
    for word in left:
        if word in {"--shards", "--as"}:
            next(left, None)
        elif not word.startswith(("--shards=", "--as=")):
            yield word


_INDEX = "demur index --plan shards.toml --shard {part} --out index"
_PART = "demur audit --plan shards.toml --index index --shard {part} --out parts/{name}"
_MERGE = "demur merge parts/* --out run --index index"
_FROZEN = "demur freeze run --index index"
_FREEZE = f"{_MERGE} || test $? -eq 3 && {_FROZEN}"
"""Where a freeze was stopped, the merge before it says that shards are missing (3); what is, the freeze tells."""

_WHOLE = (
    "rm -f run/report.html; {merge}; status=$?; case $status in "
    "0|1|3) echo The verdict of the run is exit status $status. && test -f run/report.html ;; *) exit $status ;; esac"
)
"""The last merge, as a step that fails only where the run is not whole; quoted nowhere, to stand within quotes."""

_STATUSES = """\
# The last step succeeds once the run is whole, whatever its verdict. It prints that as the exit status of the audit:
# 0 guaranteed and all gates passed, 1 refused or failed, 3 nothing was asked or a gate is inconclusive. It fails where
# the run is not whole: wrong input (2), a fault (70), a signal, or shards are missing.
"""


def _commands(plan: str, count: int) -> str:
    def phase(command: str, more: str = "") -> list[str]:
        return [command.format(part=f"{i}/{count}", name=i) + more for i in range(1, count + 1)]

    return "\n".join(
        [
            f"{plan} > shards.toml",
            "# in any order, on any machines that share this folder; the same command again continues",
            *phase(_INDEX),
            "# once all of these have ended, in any order",
            *phase(_PART),
            "# once all of these have ended",
            _FREEZE,
            "# in any order",
            *phase(_PART, " --frozen run"),
            "# once all of these have ended; the exit status of a whole run is its verdict: 0 guaranteed and all gates",
            "# passed, 1 refused or failed, 3 nothing was asked or a gate is inconclusive; whole has run/report.html",
            _MERGE,
            "",
        ]
    )


def _slurm(plan: str, count: int) -> str:
    here = {"part": f"$SLURM_ARRAY_TASK_ID/{count}", "name": "$SLURM_ARRAY_TASK_ID"}
    part = _PART.format(**here)
    return f"""\
#!/bin/sh
# Five jobs, each after the one before; give every sbatch the time, memory and partition that it needs.
{_STATUSES}set -eu
{plan} > shards.toml
index=$(sbatch --parsable --array=1-{count} --cpus-per-task=1 --wrap='{_INDEX.format(**here)}')
clean=$(sbatch --parsable --dependency=afterok:$index --array=1-{count} --cpus-per-task=1 \\
  --wrap='{part}')
frozen=$(sbatch --parsable --dependency=afterok:$clean --wrap='{_FREEZE}')
others=$(sbatch --parsable --dependency=afterok:$frozen --array=1-{count} --cpus-per-task=1 \\
  --wrap='{part} --frozen run')
sbatch --dependency=afterok:$others --wrap='{_WHOLE.format(merge=_MERGE)}'
"""


def _kubernetes(plan: str, count: int) -> str:
    here = {"part": f"$((JOB_COMPLETION_INDEX + 1))/{count}", "name": "$((JOB_COMPLETION_INDEX + 1))"}
    part = _PART.format(**here)
    head = f"""\
# Write the plan onto the shared volume first: {plan} > shards.toml
# Then apply these jobs one after the other, each once the one before is complete: kubectl wait
# --for=condition=complete job/NAME (one that failed never is: kubectl describe job/NAME says why). Put your image,
# your volume and resources in the marked places.
{_STATUSES}"""
    jobs = (
        _job("demur-index", _INDEX.format(**here), count),
        _job("demur-clean", part, count),
        _job("demur-freeze", _FREEZE, 1),
        _job("demur-others", f"{part} --frozen run", count),
        _job("demur-merge", _WHOLE.format(merge=_MERGE), 1),
    )
    return head + "---\n".join(jobs)


def _job(name: str, command: str, count: int) -> str:
    return f"""\
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  completions: {count}
  parallelism: {min(count, 16)}
  completionMode: Indexed
  backoffLimitPerIndex: 6
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: demur
          image: IMAGE-WITH-DEMUR
          workingDir: /audit
          command: [sh, -c, "{command}"]
          resources: {{requests: {{cpu: "1", memory: 2Gi}}}}
          volumeMounts: [{{name: audit, mountPath: /audit}}]
      volumes: [{{name: audit, persistentVolumeClaim: {{claimName: YOUR-CLAIM}}}}]
"""


def _make(plan: str, count: int) -> str:
    here = {"part": f"$*/{count}", "name": "$*"}
    part, parts = _PART.format(**here), "$(PARTS:%=parts/%)"
    whole, freeze = (
        text.replace("$", "$$").replace("parts/*", parts) for text in (_WHOLE.format(merge=_MERGE), _FREEZE)
    )
    return f"""\
# make -j PROCESSES; again after any stop.
{_STATUSES}PARTS := $(shell seq {count})
run/report.html: $(PARTS:%=parts/%.others)
\t@{whole}
parts/%.others: run/facts/policies.json
\t{part} --frozen run && touch $@
run/facts/policies.json: $(PARTS:%=parts/%.clean)
\t{freeze}
parts/%.clean: $(PARTS:%=index/%.made)
\t{part} && touch $@
index/%.made: shards.toml
\t{_INDEX.format(**here)} && touch $@
shards.toml:
\t{plan.replace("$", "$$")} > $@.new && mv $@.new $@
.PRECIOUS: index/%.made parts/%.clean parts/%.others
"""


_SCRIPTS: Mapping[ScriptFormat, Callable[[str, int], str]] = {
    ScriptFormat.COMMANDS: _commands,
    ScriptFormat.SLURM: _slurm,
    ScriptFormat.KUBERNETES: _kubernetes,
    ScriptFormat.MAKE: _make,
}
