import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests import tiny

from demur.analysis import Results
from demur.registry import TABLES, resolve

QUICK = ("--set", 'conditions.use=["clean", "low_light(severity=2)"]', "--set", "batch=64")


def test_an_audit_says_its_result_in_a_few_lines(demur, good, data):
    said = demur("audit", good, data, *QUICK, "--risk", "0.2")
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert 5 <= len(lines) <= 24
    assert re.fullmatch(r"Report: runs/net_[a-z0-9_]+_net-test-[0-9a-f]{8}/report\.html", lines[-1])
    first, code, then = said.err.splitlines()[:3]
    assert (first, then) == ("reading the images", "checking the model and the data")
    assert code.startswith("the Python code of ")
    assert "\x1b" not in said.err + said.out, "colours and cursor moves belong in a terminal"
    assert "\r" not in said.err


def test_the_same_command_finds_its_folder_again(demur, good, data, tmp_path):
    first = demur("audit", good, data, *QUICK)
    second = demur("audit", good, data, *QUICK)
    assert first.out == second.out
    assert len(list((tmp_path / "runs").glob("[!.]*/"))) == 1


def test_json_is_the_whole_of_stdout(demur, good, data):
    said = demur("audit", good, data, *QUICK, "--out", "here", "--json")
    results = Results.model_validate_json(said.out)
    assert said.out.strip() == Path("here/results.json").read_text().strip()
    assert results.provenance.model == good
    again = demur("report", "here", "--json")
    assert again.status == said.status
    first, second = json.loads(said.out), json.loads(again.out)
    assert (first.pop("label_access")["test"], second.pop("label_access")["test"]) == (1, 2)
    assert first == second
    words = demur("report", "here")
    assert len(words.out.splitlines()) <= 24
    assert words.out.splitlines()[-1] == "Report: here/report.html"


def test_an_attack_signal_joins_the_certified_policy(demur, good, data):
    said = demur("audit", good, data, *QUICK, "--risk", "0.2", "--attack-signal", "tta(mirror=False)")
    assert said.status == 0, said.err
    assert "the image does not look changed on purpose (tta(mirror=False) at most" in said.out.replace("\n  ", " ")
    assert "ut both thresholds in front of the model (demur guard fit --from RUN)" in " ".join(said.out.split())
    printed = tomllib.loads(demur("plan", good, data, "--coverage", "0.7", "--attack-signal", "energy").out)
    assert printed["policies"]["use"][0] == "capacity(coverage=0.7, delta=0.05, purpose='attack', second=energy)"
    assert "energy" in printed["signals"]["use"]
    assert "Did you mean 'energy'" in demur("audit", good, data, "--attack-signal", "enrgy").err


@pytest.mark.parametrize(
    ("options", "state", "status"),
    [
        (("--risk", "0.2"), "issued", 0),
        (("--risk", "0.001"), "too_few_labels", 1),
        (("--set", 'policies.use=["rule"]'), "undeclared", 3),
    ],
)
def test_the_exit_status_tells_the_state(demur, good, data, options, state, status):
    said = demur("audit", good, data, "--set", 'conditions.use=["clean"]', *options, "--json")
    assert json.loads(said.out)["state"] == state
    assert said.status == status


def test_a_failed_measurement_is_status_one(demur, good, data, monkeypatch):
    from demur.pipeline.run import begun

    knock = begun.preflight_checks
    monkeypatch.setattr(begun, "preflight_checks", lambda job: [knock(job)[0] | {"state": "fail"}])
    said = demur("audit", good, data, "--set", 'conditions.use=["clean"]', "--risk", "0.2", "--json")
    assert json.loads(said.out)["state"] == "measurement_failed"
    assert said.status == 1


def test_an_interrupted_audit_is_status_130_and_says_how_to_go_on(demur, good, data, monkeypatch):
    with monkeypatch.context() as patch:
        tiny.interrupt(patch, lambda condition: True)
        said = demur("audit", good, data, *QUICK)
    assert said.status == 130
    assert said.err.splitlines()[-1].startswith("demur: interrupted; the same command continues")
    assert said.out == ""
    assert demur("audit", good, data, *QUICK, "--risk", "0.02").status in {0, 1}


def test_a_plan_is_printed_whole_and_accepted_back(demur, good, data, tmp_path):
    said = demur("plan", good, data, "--seed", "7", "--set", "purpose.intended_use=sort marks", "--risk", "0.2")
    assert said.status == 0
    tree = tomllib.loads(said.out)
    assert tree["seed"] == 7
    assert tree["purpose"]["intended_use"] == "sort marks"
    assert tree["policies"]["use"][0] == "certified(risk=0.2, delta=0.05)"
    assert "pgd(eps=0.05, keep='worst', steps=20)" in tree["conditions"]["use"]
    (tmp_path / "plan.toml").write_text(said.out)
    assert demur("plan", "--plan", "plan.toml").out == said.out
    changed = demur("plan", "--plan", "plan.toml", "--seed", "8", "--set", "seed=9")
    assert tomllib.loads(changed.out)["seed"] == 8, "options win over --set, --set over the file"


def test_a_printed_plan_is_audited_as_the_same_plan(demur, good, data, tmp_path):
    (tmp_path / "plan.toml").write_text(demur("plan", good, data, *QUICK).out)
    demur("audit", "--plan", "plan.toml")
    demur("audit", good, data, *QUICK)
    assert len(list((tmp_path / "runs").glob("[!.]*/"))) == 1


def test_a_limit(demur, good, data):
    said = demur("audit", good, data, "--limit", "100", "--set", 'conditions.use=["clean"]', "--json")
    assert json.loads(said.out)["accuracy"]["n"] == 100


def test_lists(demur):
    everything = demur("list")
    assert everything.status == 0
    assert len(everything.out.splitlines()) == len(TABLES) <= 24
    assert demur("list", "signal").out.split() == ["signal", *sorted(TABLES["signal"])]


def test_the_version_and_the_help(demur):
    assert demur("--version").out.startswith("demur 0.")
    for command in ("audit", "report", "plan", "list"):
        assert command in demur("--help").out
        assert demur(command, "--help").status == 0


@pytest.mark.parametrize(
    ("kind", "name", "first"),
    [
        ("signal", "energy", "energy(temperature=1.0)"),
        ("signal", "tempered", "tempered(signal=msp, temperature=1.0)"),
        ("attack", "fgsm", "fgsm(eps=…, loss='cross_entropy', norm='linf')"),
        ("corruption", "spatter", "spatter(severity=…)"),
        ("data", "csv", "csv"),
    ],
)
def test_a_name_is_explained(demur, kind, name, first):
    said = demur("list", kind, name).out
    assert said.splitlines()[:2] == [first, ""]
    assert said.rstrip().endswith(inspect.getdoc(resolve(kind, name)))


def test_a_name_that_is_not_there_is_not_explained(demur):
    said = demur("list", "signal", "enrgy")
    assert said.status == 2
    assert "Did you mean 'energy'?" in said.err


def test_help_and_lists_need_no_torch():
    program = (
        "import sys\n"
        "from demur.cli import main\n"
        "for arguments in (['--help'], ['audit', '--help'], ['list'], ['list', 'signal'], ['--version']):\n"
        "    sys.argv = ['demur', *arguments]\n"
        "    try:\n        main()\n    except SystemExit as left:\n        assert not left.code\n"
        "heavy = {'torch', 'polars', 'scipy', 'altair'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_is_told_nothing(unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run(
        [sys.executable, "-m", "demur", "list"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        check=False,
    )
    os.close(writing)
    assert found.returncode in {0, 1}
    assert found.stderr == b""


def test_plain_progress_tells_the_time_left(capsys, monkeypatch):
    import time

    from demur.cli.settings import Lines, progress_display

    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress_display() as progress:
        assert isinstance(progress, Lines)
        progress.start(1000)
        now[0] += 4
        progress.advance(100, "clean")
        now[0] += 16
        progress.advance(100, "noise")
        now[0] += 1
        progress.advance(100, "noise")
    assert capsys.readouterr() == ("", " 20%  about 80 s left  noise\n")


def test_plain_progress_tells_no_share_and_no_time_until_somebody_knows(capsys, monkeypatch):
    import math
    import time

    from demur.cli.settings import progress_display

    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress_display() as progress:
        progress.start(1000)
        for what, left in (("clean", math.inf), ("pgd", 60.0), ("noise", 6000.0)):
            now[0] += 20
            progress.advance(1, what, left)
    assert capsys.readouterr().err.splitlines() == [
        "clean",
        " 40%  about 60 s left  pgd",
        "  1%  about 100 min left  noise",
    ]


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    from demur.cli.settings import Bar, progress_display

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_display() as progress:
        assert isinstance(progress, Bar)
        progress.start(10)
        progress.advance(10, "clean")
        progress.say("done")
    assert capsys.readouterr().out == ""


def test_a_prevalence_on_the_command_line_is_part_of_the_plan(demur, good, data):
    said = demur("plan", good, data, "--set", "data.positive=fashionable", "--prevalence", "positive=.005")
    assert said.status == 2
    assert "unknown class in data.positive 'fashionable'" in said.err
    said = demur("plan", good, data, "--prevalence", "positive=.005")
    assert said.status == 2
    assert "Set data.positive" in said.err


def test_a_coverage_takes_the_place_of_a_risk(demur, good, data):
    said = demur("plan", good, data, "--coverage", "0.85")
    assert tomllib.loads(said.out)["policies"]["use"][0] == "capacity(coverage=0.85, delta=0.05)"
    both = demur("plan", good, data, "--coverage", "0.85", "--risk", "0.02")
    assert both.status == 2
    assert "--risk and --coverage exclude each other; got 0.02 and 0.85" in both.err


def test_plan_is_that_of_the_audit_and_says_where_the_model_cannot_be_used(demur, good, data):
    said = demur("plan", good, data)
    assert "cannot be used" not in said.err
    other = demur("plan", "zoo:resnet20@none.safetensors", data)
    assert other.status == 0
    assert "the model cannot be used as it is" in other.err
    assert "conditions" in tomllib.loads(other.out)
