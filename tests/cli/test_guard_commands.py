"""`demur guard …` on the shipped classifier: words, JSON lines, exit status, and what is copied."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests import guarded
from tests.cli.test_certify_commands import said

from demur.guard import Guard, golden_vectors
from demur.guard.file_list import verify_files


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    from typer.testing import CliRunner

    from demur.cli import app

    folder = tmp_path_factory.mktemp("fit") / "guard"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        answer = CliRunner().invoke(app, ["guard", "fit", "--out", str(folder), "--limit", "1500", "--risk", "0.1"])
    return folder, answer


def run_of(folder):
    """The run by which a guard was made."""
    (report,) = (folder.parent / "runs").glob("*/report.html")
    return report.parent


@pytest.fixture
def folder(fitted, tmp_path):
    return Path(shutil.copytree(fitted[0], tmp_path / "guard"))


def test_fit_prints_the_certificate_the_hash_and_the_next_command(fitted):
    folder, answer = fitted
    assert answer.exit_code == 0, answer.output
    assert "When it answers, at most 10 in 100 answers are wrong" in answer.stdout
    assert f"SHA-256 of the list of files: {verify_files(folder)}" in answer.stdout
    assert answer.stdout.rstrip().endswith(f"Next: demur guard predict {folder} IMAGES…")
    assert run_of(folder).is_dir()


def test_from_a_run_it_is_the_same_guard(fitted, tmp_path, capsys):
    folder, _ = fitted
    status, out, _ = said(
        capsys, "guard", "fit", "--from", run_of(folder), "--out", tmp_path / "other",
        "--expires", "2099-05-04",
    )  # fmt: skip
    assert status in {0, None}, out
    assert "after 2099-05-04" in out
    assert Guard.load(tmp_path / "other").policy == Guard.load(folder).policy


def test_what_cannot_be_certified_ends_with_status_2_and_no_guard(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = said(capsys, "guard", "fit", "--limit", "700", "--risk", "0.0001", "--out", tmp_path / "guard")
    assert (status, out) == (2, "")
    assert "there is no certificate that a guard could keep (too few labels)." in err
    assert not (tmp_path / "guard").exists()


def test_embed_is_weights_or_program(tmp_path, capsys):
    status, _, err = said(capsys, "guard", "fit", "--embed", "pickle", "--out", tmp_path / "guard")
    assert status == 2
    assert "--embed is weights or program; got 'pickle'" in err


def test_show_says_it_in_words_markdown_and_json(folder, capsys):
    words = said(capsys, "guard", "show", folder)[1]
    assert words.count("It answers where") == words.count("the score is at most") == 1  # the threshold, once
    assert "Otherwise it abstains" in words
    assert "demur guard verify --key" in words
    assert said(capsys, "guard", "show", folder, "--markdown")[1].startswith("# Guard of fashion\n")
    content = json.loads(said(capsys, "guard", "show", folder, "--json")[1])
    assert content["sha256"] == verify_files(folder)
    assert content["policy"]["policy"] == "certified"


@pytest.mark.parametrize(
    ("command", "option"), [(("guard", "fit", "--from"), "--from"), (("audit", "--guard"), "--guard")]
)
@pytest.mark.parametrize("other", [("--risk", "0.1"), ("--coverage", "0.8"), ("--attack-signal", "energy")])
def test_what_is_fixed_is_not_chosen_again(folder, capsys, command, option, other):
    status, _, err = said(capsys, *command, folder, *other)
    assert status == 2
    assert f"{option} takes" in err
    assert f"{other[0]} would choose another" in err


@pytest.mark.parametrize(
    "other", [("--signal", "energy"), ("--limit", "700"), ("--set", "seed=3"), ("--device", "cpu")]
)
def test_a_finished_run_is_not_chosen_from_again(folder, capsys, other):
    status, _, err = said(capsys, "guard", "fit", "--from", folder, *other)
    assert status == 2
    assert f"--from takes the certificate of a run as it stands, and {other[0]} would choose another" in err


def test_a_finished_run_has_its_own_model(folder, capsys):
    status, _, err = said(capsys, "guard", "fit", "fashion", "--from", folder)
    assert status == 2
    assert "--from takes the model and the images of a run; got 'fashion', too" in err


@pytest.mark.parametrize(
    "command",
    [
        ("fit", "--limit", "700", "--out", "{}/sub"),
        ("predict", "{}", "{}/golden", "--copy-abstained", "{}/away"),
        ("predict", "{}", "{}/golden", "--copy-abstained", "{}"),
        ("certify", "{}", "fashion", "--out", "{}/sub"),
        ("export", "{}", "{}/graph.onnx"),
    ],
)
def test_nothing_is_written_into_a_guard(folder, capsys, command):
    status, out, err = said(capsys, "guard", *(each.format(folder) for each in command))
    assert (status, out) == (2, "")
    assert "would lie in the guard" in err
    verify_files(folder)


class TestPredict:
    def test_a_table_has_a_line_for_each_picture_and_the_sum(self, folder, tmp_path, capsys):
        pictures = Path(shutil.copytree(folder / "golden", tmp_path / "pictures"))
        (pictures / "decisions.json").unlink()
        (pictures / "torn.png").write_bytes(b"not a picture")
        status, out, _ = said(capsys, "guard", "predict", folder, pictures, "--copy-abstained", tmp_path / "away")
        lines = out.splitlines()
        assert status in {0, None}
        assert lines[0].split() == ["image", "decision", "label", "confidence", "uncertainty"]
        assert len(lines) == 33 + 2
        abstained = [line for line in lines if " abstain: " in line]
        away = tmp_path / "away"
        assert lines[-1] == f"{33 - len(abstained)} of 33 answered. {len(abstained)} copied to {away}."
        assert any("torn.png" in line and "cannot decode" in line for line in abstained)
        assert len(list((tmp_path / "away").iterdir())) == len(abstained)
        assert (tmp_path / "away" / "torn.png").read_bytes() == b"not a picture"

    def test_json_has_a_line_for_each_picture_as_the_guard_decides(self, folder, capsys):
        out = said(capsys, "guard", "predict", folder, folder / "golden" / "00.png", "absent.png", "--json")[1]
        first, second = map(json.loads, out.splitlines())
        decision = Guard.load(folder).answer(folder / "golden" / "00.png")
        assert first["label"] == decision.label
        assert first["scores"] == dict(decision.scores)
        assert first["accepted"] is decision.accepted
        assert (second["label"], second["reason"], second["scores"]["msp"]) == (None, "unreadable", None)

    def test_pictures_of_the_same_name_are_all_copied(self, folder, tmp_path, capsys):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "x.png").write_bytes(name.encode())
        said(capsys, "guard", "predict", folder, tmp_path / "a", tmp_path / "b", "--copy-abstained", tmp_path / "away")
        assert {each.read_bytes() for each in (tmp_path / "away").iterdir()} == {b"a", b"b"}

    def test_what_is_no_file_is_abstained_from_and_never_left_out(self, folder, tmp_path, capsys):
        pictures = tmp_path / "pictures"
        (pictures / "folder.png").mkdir(parents=True)
        (pictures / "gone.png").symlink_to("nowhere.png")
        os.mkfifo(pictures / "pipe.png")
        status, out, _ = said(capsys, "guard", "predict", folder, pictures, "--json")
        assert status == 1, "not one could be read"
        found = {Path(each["image"]).name: each["reason"] for each in map(json.loads, out.splitlines())}
        assert found == {"gone.png": "unreadable", "pipe.png": "unreadable"}

    def test_a_path_that_leads_nowhere_is_no_success(self, folder, capsys):
        status, out, _ = said(capsys, "guard", "predict", folder, "nowhere.png")
        assert status == 1
        assert "0 of 1 answered." in out

    def test_no_pictures_is_an_error(self, folder, tmp_path, capsys):
        (tmp_path / "empty").mkdir()
        status, _, err = said(capsys, "guard", "predict", folder, tmp_path / "empty")
        assert status == 2
        assert "there is no picture" in err

    def test_another_hash_than_was_told_is_refused(self, folder, capsys):
        status, _, err = said(capsys, "guard", "predict", folder, folder / "golden", "--sha256", "0" * 64)
        assert status == 2
        assert "must have the SHA-256" in err


class TestSelftestAndVerify:
    def test_alike_is_0_and_otherwise_1(self, folder, capsys, monkeypatch):
        status, out, _ = said(capsys, "guard", "selftest", folder)
        assert (status, out) == (0, "32 golden images are decided alike.\n")
        assert json.loads(said(capsys, "guard", "selftest", folder, "--json")[1])["passed"] is True
        decide = golden_vectors._decide
        monkeypatch.setattr(golden_vectors, "_decide", lambda *given: replace(decide(*given), scores={"msp": 0.5}))
        status, out, _ = said(capsys, "guard", "selftest", folder)
        assert status == 1
        assert "golden/00.png" in out

    def test_verify_names_the_file_that_changed(self, folder, capsys):
        status, out, _ = said(capsys, "guard", "verify", folder)
        assert status in {0, None}
        assert verify_files(folder) in out
        assert "not someone who rewrites" in out
        guarded.flipped(folder / "golden" / "03.png", 50)
        status, _, err = said(capsys, "guard", "verify", folder)
        assert status == 2
        assert "golden/03.png is not the file that was written" in err

    def test_without_the_tool_signing_says_what_to_install(self, folder, tmp_path, capsys):
        (tmp_path / "key.pem").write_text("key")
        status, _, err = said(capsys, "guard", "sign", folder, "--key", tmp_path / "key.pem")
        assert status == 2
        assert "demur[sign]" in err or "cannot sign" in err


class TestCertify:
    def test_new_labels_are_counted_and_certify(self, folder, tmp_path, capsys):
        status, out, _ = said(capsys, "guard", "certify", folder, "fashion", "--out", tmp_path / "next")
        assert status == 0
        assert "it was built on were left out" in out
        assert "The certificate holds on them." in out
        assert "They certify anew. When it answers" in out
        assert f"Guard: {tmp_path / 'next'} (SHA-256 of the list of files {verify_files(tmp_path / 'next')})" in out

    def test_json_has_the_counts(self, folder, capsys):
        found = json.loads(said(capsys, "guard", "certify", folder, "fashion", "--json")[1])
        assert found["stands"] == "holds"
        assert found["certified"] is True
        assert found["risk"]["low"] < found["risk"]["value"] < 0.1


def test_an_audit_takes_the_guard(folder, tmp_path, capsys):
    status, out, _ = said(
        capsys,
        "audit",
        "--guard",
        folder,
        "--limit",
        "2000",
        "--set",
        'conditions.use=["clean"]',
        "--out",
        tmp_path / "r",
    )
    assert status == 0, out
    assert "10 in 100" in out
