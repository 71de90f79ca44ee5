"""A guard is signed by the OpenSSF reference tool, verified by it, and refused once anything was changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demur.errors import InputError
from demur.guard.file_list import FILE, SIGNATURE, write_file_list
from demur.guard.signature import sign_guard, verify_guard
from tests import guarded

pytest.importorskip("model_signing")


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """An elliptic-curve key pair in PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    place = tmp_path_factory.mktemp("signed")
    private, public = keys(place, "own")
    guarded.written(place / "guard")
    assert sign_guard(place / "guard", private) == place / "guard" / SIGNATURE
    return place / "guard", private, public


@pytest.fixture
def folder(signed, tmp_path):
    return Path(shutil.copytree(signed[0], tmp_path / "guard"))


def test_the_signature_holds_for_its_key_and_no_other(signed, tmp_path):
    folder, _, public = signed
    assert verify_guard(folder, public) is True
    assert verify_guard(folder) is False
    with pytest.raises(InputError, match="does not hold"):
        verify_guard(folder, keys(tmp_path, "other")[1])


def test_the_reference_tool_verifies_the_folder(signed):
    folder, _, public = signed
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature"]
    answer = subprocess.run(
        [*command, str(folder / SIGNATURE), "--public_key", str(public)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr


def test_a_file_rewritten_with_its_list_is_found_by_the_signature(folder, signed):
    guarded.flipped(folder / "golden" / "00.png", 60)
    write_file_list(folder)
    assert verify_guard(folder) is False, "hashes alone cannot tell"
    with pytest.raises(InputError, match="does not hold"):
        verify_guard(folder, signed[2])


@pytest.mark.parametrize("name", [FILE, "guard.json", "looks.jsonl"])
def test_any_changed_file_is_refused(folder, signed, name):
    guarded.flipped(folder / name, 30)
    with pytest.raises(InputError):
        verify_guard(folder, signed[2])


def test_a_new_look_asks_to_sign_again(folder, signed):
    from demur.ledger import Inquiry, LabelledRows

    rows = LabelledRows.of(["another"], [0])
    guarded.ledger_of(folder).numbers(Inquiry(rows=rows, model="m", menu=("msp",), procedure="p"), ["certified"])
    assert verify_guard(folder) is False
    with pytest.raises(InputError, match="does not hold"):
        verify_guard(folder, signed[2])
    sign_guard(folder, signed[1])
    assert verify_guard(folder, signed[2]) is True


def test_a_guard_without_a_signature_and_a_key_that_is_none_are_said(folder, signed, tmp_path):
    (tmp_path / "text.pem").write_text("no key")
    with pytest.raises(InputError, match="cannot sign"):
        sign_guard(folder, tmp_path / "text.pem")
    with pytest.raises(InputError, match="there is no key"):
        sign_guard(folder, tmp_path / "absent.pem")
    (folder / SIGNATURE).unlink(missing_ok=True)
    with pytest.raises(InputError, match="demur guard sign"):
        verify_guard(folder, signed[2])
