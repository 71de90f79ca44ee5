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


def shard_script(arguments: Sequence[str], count: int, wanted: ScriptFormat) -> str:
    """The commands that measure a plan in `count` parts.

    Args:
        arguments: those of `demur plan`; what asks for the script is left out of them.
        count: how many parts.
        wanted: what they are written for.

    Raises:
        InputError: no such number of parts, or the plan is in the file that the script writes.
    """
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


_PART = "demur audit --plan shards.toml --shard {part} --out parts/{name}"


def _commands(plan: str, count: int) -> str:
    def phase(more: str) -> list[str]:
        return [_PART.format(part=f"{i}/{count}", name=i) + more for i in range(1, count + 1)]

    return "\n".join(
        [
            f"{plan} > shards.toml",
            "# in any order, on any machines that share this folder; the same command again continues",
            *phase(""),
            "# once all of these have ended",
            "demur merge parts/* --out run && demur freeze run",
            "# in any order",
            *phase(" --frozen run"),
            "# once all of these have ended",
            "demur merge parts/* --out run",
            "",
        ]
    )


def _slurm(plan: str, count: int) -> str:
    part = _PART.format(part=f"$SLURM_ARRAY_TASK_ID/{count}", name="$SLURM_ARRAY_TASK_ID")
    return f"""\
#!/bin/sh
# Four jobs, each after the one before; give every sbatch the time, memory and partition that it needs.
set -eu
{plan} > shards.toml
clean=$(sbatch --parsable --array=1-{count} --cpus-per-task=1 --wrap='{part}')
frozen=$(sbatch --parsable --dependency=afterok:$clean --wrap='demur merge parts/* --out run && demur freeze run')
others=$(sbatch --parsable --dependency=afterok:$frozen --array=1-{count} --cpus-per-task=1 \\
  --wrap='{part} --frozen run')
sbatch --dependency=afterok:$others --wrap='demur merge parts/* --out run'
"""


def _kubernetes(plan: str, count: int) -> str:
    part = _PART.format(part=f"$((JOB_COMPLETION_INDEX + 1))/{count}", name="$((JOB_COMPLETION_INDEX + 1))")
    merge = "demur merge parts/* --out run"
    head = f"""\
# Write the plan onto the shared volume first: {plan} > shards.toml
# Then apply these jobs one after the other, each once the one before is complete: kubectl wait
# --for=condition=complete job/NAME. Put your image, your volume and resources in the marked places.
"""
    jobs = (
        _job("demur-clean", part, count),
        _job("demur-freeze", f"{merge} && demur freeze run", 1),
        _job("demur-others", f"{part} --frozen run", count),
        _job("demur-merge", merge, 1),
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
    part = _PART.format(part=f"$*/{count}", name="$*")
    return f"""\
# make -j PROCESSES; again after any stop.
PARTS := $(shell seq {count})
run/report.html: $(PARTS:%=parts/%.others)
\tdemur merge $(PARTS:%=parts/%) --out run
parts/%.others: run/facts/policies.json
\t{part} --frozen run && touch $@
run/facts/policies.json: $(PARTS:%=parts/%.clean)
\tdemur merge $(PARTS:%=parts/%) --out run && demur freeze run
parts/%.clean: shards.toml
\t{part} && touch $@
shards.toml:
\t{plan.replace("$", "$$")} > $@.new && mv $@.new $@
.PRECIOUS: parts/%.clean parts/%.others
"""


_SCRIPTS: Mapping[ScriptFormat, Callable[[str, int], str]] = {
    ScriptFormat.COMMANDS: _commands,
    ScriptFormat.SLURM: _slurm,
    ScriptFormat.KUBERNETES: _kubernetes,
    ScriptFormat.MAKE: _make,
}
