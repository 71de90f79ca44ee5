"""An audit in parts from the command line, and the scripts that `demur plan --shards` prints."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

QUICK = ("--limit", "600", "--set", 'conditions.use=["fgsm(eps=2/255)"]', "--set", "guard_attack.images=0")


@pytest.fixture
def parts(demur, good, data):
    """Two parts of a small audit in one phase, and what was said."""
    tiny = ("--set", 'conditions.use=["gaussian_noise(severity=1)"]')

    def phase(*more):
        return [demur("audit", good, data, *tiny, "--shard", f"{i}/2", "--out", f"parts/{i}", *more) for i in (1, 2)]

    return phase


def test_the_commands_of_an_audit_in_parts(demur, parts, monkeypatch):
    monkeypatch.setattr("demur.pipeline.job.SHARD", 256)
    first = parts()
    assert [each.status for each in first] == [0, 0]
    assert first[0].out.startswith("Part 1/2: 1 of 2 clean shards measured, in parts/1\nNext, with every part there")
    found = demur("merge", "parts/1", "--out", "run")
    assert (found.status, "1 clean shards are missing: c000-s0001. Run" in found.out) == (3, True)
    found = demur("merge", "parts/1", "parts/2", "--out", "run")
    assert (found.status, found.out) == (0, "Every clean shard is there. Next: demur freeze run\n")
    found = demur("freeze", "run")
    assert (found.status, found.out.startswith("Frozen on 400 clean rows: ")) == (0, True)
    second = parts("--frozen", "run")
    assert "1 of 2 other shards measured" in second[0].out
    found = demur("merge", "parts/1", "parts/2", "--out", "run")
    assert found.status in {0, 1, 3}
    assert found.out.endswith("Report: run/report.html\n")
    assert demur("report", "run").status == found.status


def test_what_is_wrong_is_said(demur, tmp_path):
    found = demur("audit", "fashion", "fashion", "--frozen", "run")
    assert (found.status, "Name the part with --shard i/N" in found.err) == (2, True)
    found = demur("audit", "fashion", "fashion", "--shard", "3/2")
    assert (found.status, "from 1/N to N/N; got 3/2" in found.err) == (2, True)
    found = demur("merge", "nothing", "--out", "run")
    assert (found.status, "nothing is no part of an audit" in found.err) == (2, True)
    assert not (tmp_path / "run").exists()
    found = demur("freeze", "nothing")
    assert (found.status, "nothing" in found.err) == (2, True)
    found = demur("plan", "fashion", "fashion", "--shards", "0")
    assert (found.status, "from 1 to 100,000" in found.err) == (2, True)
    (tmp_path / "shards.toml").write_text("seed = 1\n")
    found = demur("plan", "--plan", "shards.toml", "--shards", "2")
    assert (found.status, "Give yours another name" in found.err) == (2, True)


def test_the_script_has_the_plan_as_it_was_given(demur):
    found = demur("plan", "fashion", "fashion", *QUICK, "--shards=3", "--as", "commands")
    assert found.status == 0
    lines = found.out.splitlines()
    assert lines[0] == (
        "demur plan fashion fashion --limit 600 --set 'conditions.use=[\"fgsm(eps=2/255)\"]' "
        "--set guard_attack.images=0 > shards.toml"
    )
    assert lines[2] == "demur index --plan shards.toml --shard 1/3 --out index"
    assert "demur audit --plan shards.toml --index index --shard 3/3 --out parts/3 --frozen run" in lines
    assert lines[-1] == "demur merge parts/* --out run --index index"
    assert len(found.out.splitlines()) == 9 + 3 + 3 + 3


def test_the_slurm_script_is_a_shell_script_of_five_jobs_in_order(demur, tmp_path):
    said = demur("plan", "fashion", "fashion", *QUICK, "--shards", "2", "--as", "slurm").out
    (tmp_path / "bin").mkdir()
    for name, body in (("sbatch", 'echo "$@" >> jobs; wc -l < jobs'), ("demur", 'echo "$@"')):
        file = tmp_path / "bin" / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
    (tmp_path / "script.sh").write_text(said)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    subprocess.run(["sh", "script.sh"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    jobs = (tmp_path / "jobs").read_text().splitlines()
    assert len(jobs) == 5
    assert "--array=1-2" in jobs[0]
    assert "demur index --plan shards.toml --shard $SLURM_ARRAY_TASK_ID/2 --out index" in jobs[0]
    assert [f"afterok:{number}" in job for number, job in enumerate(jobs)] == [False, True, True, True, True]
    assert "$SLURM_ARRAY_TASK_ID/2 --out parts/$SLURM_ARRAY_TASK_ID --frozen run" in jobs[3]


def test_a_script_is_not_printed_where_an_estimate_is_asked(demur, tmp_path):
    given = ("plan", "fashion", "fashion", *QUICK)
    for more in ((), ("--machines", "3", "--json")):
        found = demur(*given, "--shards", "2", "--estimate", *more)
        assert (found.status, found.out, "Ask one after the other" in found.err) == (2, "", True)
    found = demur(*given, "--as", "make")
    assert (found.status, found.out, "how many with --shards N" in found.err) == (2, "", True)


MERGE = """#!/bin/sh
echo "demur $@" >> calls
case $1 in
  merge) test $(grep -c "demur merge" calls) -lt $LAST && exit $FIRST
         mkdir -p run; test $REPORT = 1 && touch run/report.html; exit $STATUS;;
  freeze) mkdir -p run/facts; touch run/facts/policies.json;;
  audit) mkdir -p parts;;
  index) mkdir -p index;;
esac
"""


@pytest.fixture
def scripted(demur, tmp_path):
    """What runs scripts with a `demur` that says what it is told: exit status by the number of the merge."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "demur").write_text(MERGE)
    (tmp_path / "bin" / "demur").chmod(0o755)

    def script(wanted):
        return demur("plan", "fashion", "fashion", *QUICK, "--shards", "2", "--as", wanted).out

    def steps(wanted):
        """The steps of the last merge and of the freeze, as commands."""
        if wanted == "kubernetes":
            jobs = {job["metadata"]["name"]: job for job in yaml.safe_load_all(script(wanted))}
            commands = [job["spec"]["template"]["spec"]["containers"][0]["command"][-1] for job in jobs.values()]
            return dict(zip(jobs, commands, strict=True))
        words = shlex.split(script(wanted), comments=True)
        wraps = [word.removeprefix("--wrap=").rstrip(")") for word in words if "--wrap=" in word]
        return {"demur-merge": wraps[-1], "demur-freeze": wraps[-3]}

    def run(command, status, *, report=True, first=0, last=1):
        told = {"STATUS": str(status), "REPORT": str(int(report)), "FIRST": str(first), "LAST": str(last)}
        path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
        return subprocess.run(command, cwd=tmp_path, env={"PATH": path, **told}, capture_output=True, text=True)

    return script, steps, run


@pytest.mark.parametrize("wanted", ["slurm", "kubernetes"])
def test_the_last_step_of_a_script_fails_only_where_the_run_is_not_whole(scripted, wanted, tmp_path):
    _, steps, run = scripted
    step = ["sh", "-c", steps(wanted)["demur-merge"]]
    for status in (0, 1, 3):
        found = run(step, status)
        assert (found.returncode, f"exit status {status}." in found.stdout) == (0, True)
        assert run(step, status, report=False).returncode == 1, "an old report, and shards are missing"
    assert [run(step, status).returncode for status in (2, 70, 130)] == [2, 70, 130]


@pytest.mark.parametrize("wanted", ["slurm", "kubernetes"])
def test_a_freeze_that_was_stopped_goes_on(scripted, wanted, tmp_path):
    _, steps, run = scripted
    step = ["sh", "-c", steps(wanted)["demur-freeze"]]
    for status in (0, 3):  # 3: it is frozen already, and the other shards are missing
        assert run(step, status).returncode == 0
        assert "demur freeze run --index index" in (tmp_path / "calls").read_text().splitlines()[-1]
    assert run(step, 2).returncode != 0
    assert "demur merge" in (tmp_path / "calls").read_text().splitlines()[-1]


@pytest.mark.parametrize("status", [0, 1, 3, 2, 70])
def test_make_takes_a_whole_run_for_done_whatever_its_verdict(scripted, status, tmp_path):
    script, _, run = scripted
    (tmp_path / "Makefile").write_text(script("make"))
    found = run(["make"], status, last=2)
    whole = status in {0, 1, 3}
    assert (found.returncode == 0) == whole, found.stderr
    assert (f"The verdict of the run is exit status {status}." in found.stdout) == whole
    assert "demur merge parts/1 parts/2 --out run --index index" in (tmp_path / "calls").read_text()


def test_make_fails_where_shards_are_missing(scripted, tmp_path):
    script, _, run = scripted
    (tmp_path / "Makefile").write_text(script("make"))
    assert run(["make"], 3, report=False, last=2).returncode == 2


def test_the_kubernetes_jobs_are_indexed(demur):
    said = demur("plan", "fashion", "fashion", *QUICK, "--shards", "5", "--as", "kubernetes").out
    jobs = list(yaml.safe_load_all(said))
    names = ["demur-index", "demur-clean", "demur-freeze", "demur-others", "demur-merge"]
    assert [job["metadata"]["name"] for job in jobs] == names
    assert [job["spec"]["completions"] for job in jobs] == [5, 5, 1, 5, 1]
    command = jobs[3]["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    line = command.replace("demur audit", "echo")
    answer = subprocess.run(["sh", "-c", line], env={"JOB_COMPLETION_INDEX": "4"}, capture_output=True, text=True)
    assert answer.stdout == "--plan shards.toml --index index --shard 5/5 --out parts/5 --frozen run\n"


def test_the_index_is_made_once_and_read_by_every_command(demur, parts, good, data, monkeypatch):
    found = [demur("index", good, data, "--shard", f"{i}/2", "--out", "index") for i in (1, 2)]
    assert [each.status for each in found] == [0, 0]
    said = "Part 2/2: 200 of 400 images read, in index/2-of-2"
    assert found[1].out == f"{said}\nNext, once every part is there: demur audit … --index index\n"
    again = demur("index", good, data, "--shard", "2/2", "--out", "index")
    assert "0 of 400 images read; 200 were there already" in again.out
    monkeypatch.setattr("demur.pipeline.run.shared_scan.SharedScan.__call__", None)
    use = ("--index", "index")
    assert [each.status for each in parts(*use)] == [0, 0]
    assert demur("merge", "parts/1", "parts/2", "--out", "run", *use).status == 0
    assert demur("freeze", "run", *use).status == 0
    assert [each.status for each in parts("--frozen", "run", *use)] == [0, 0]
    found = demur("merge", "parts/1", "parts/2", "--out", "run", *use)
    assert found.out.endswith("Report: run/report.html\n")
    single = demur("audit", "--plan", "run/plan.toml", "--out", "run", *use)
    assert single.status == found.status


def test_what_is_wrong_with_an_index_is_said(demur, good, data):
    found = demur("audit", good, data, "--index", "nothing")
    assert (found.status, "there is no index in nothing. Make one" in found.err) == (2, True)
    found = demur("index", good, data, "--out", "index", "--shard", "3/2")
    assert (found.status, "from 1/N to N/N; got 3/2" in found.err) == (2, True)
    assert demur("index", good, data, "--out", "index").status == 0
    Path("index/1-of-1/images-000000000.parquet").write_bytes(b"garbage")
    found = demur("audit", good, data, "--index", "index")
    assert (found.status, "is not as `demur index` wrote it. Make this part again" in found.err) == (2, True)
    found = demur("audit", "fashion", "fashion", "--index", "index")
    assert (found.status, "is of other images than these: address parquet:" in found.err) == (2, True)
    Path("taken").write_text("a file")
    found = demur("index", good, data, "--out", "taken")
    assert (found.status, "cannot write the folder taken/1-of-1" in found.err) == (2, True)
    found = demur("audit", good, data, "--index", "s3://bucket/index")
    assert (found.status, "--index names something on this machine" in found.err) == (2, True)


@pytest.mark.slow
def test_the_makefile_comes_to_a_report(demur, tmp_path):
    (tmp_path / "Makefile").write_text(demur("plan", "fashion", "fashion", *QUICK, "--shards", "2", "--as", "make").out)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["make", "-j2"], cwd=tmp_path, env=os.environ | {"PATH": path}, check=False, capture_output=True)
    assert (tmp_path / "run" / "report.html").exists()
