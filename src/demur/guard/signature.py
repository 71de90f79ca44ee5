"""A guard signed and verified as an OpenSSF model: `model.sig` beside its files, made by the reference tool.

Elliptic-curve keys in PEM files; no network is needed. The signature covers every file, the list of files and the
count of looks among them, so `demur guard certify` on a signed guard asks to sign again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.errors import InputError, missing_extra
from demur.foreign import reason
from demur.guard.file_list import SIGNATURE, verify_files
from demur.guard.guard_folder import check_ledger


def sign_guard(folder: Path, private_key: Path) -> Path:
    """Sign a guard whose files are as they were written; the signature's file.

    Args:
        folder: the guard.
        private_key: an elliptic-curve private key in PEM, such as `openssl ecparam -genkey -name prime256v1` writes.

    Raises:
        InputError: a file of the guard was changed, or the key cannot be used.
        MissingExtraError: the signing tool is not installed.
    """
    verify_files(folder)
    check_ledger(folder)
    target = folder / SIGNATURE
    with _naming(f"cannot sign {folder} with {private_key}"):
        config = _tool("signing").Config().use_elliptic_key_signer(private_key=_key(private_key))
        target.unlink(missing_ok=True)
        config.set_hashing_config(_hashing(target)).sign(folder, target)
    return target


def verify_guard(folder: Path, public_key: Path | None = None) -> bool:
    """Compare every file with the list and, with a public key, the signature with the files; whether one was checked.

    Raises:
        InputError: a file was changed or is not listed, there is no signature, or it is of another key or other files.
        MissingExtraError: the signing tool is not installed.
    """
    verify_files(folder)
    check_ledger(folder)
    if public_key is None:
        return False
    if not (folder / SIGNATURE).is_file():
        raise InputError(f"{folder} has no {SIGNATURE}. Sign it: demur guard sign {folder} --key PRIVATE.pem.")
    with _naming(f"the signature of {folder} does not hold for {public_key}"):
        config = _tool("verifying").Config().use_elliptic_key_verifier(public_key=_key(public_key))
        config.set_hashing_config(_hashing(folder / SIGNATURE)).verify(folder, folder / SIGNATURE)
    return True


def _hashing(signature: Path) -> Any:
    """Every file but the signature; nothing of Git is left out, as the tool would by itself."""
    config = _tool("hashing").Config()
    return config.use_file_serialization(hashing_algorithm="sha256").set_ignored_paths(
        paths=[signature], ignore_git_paths=False
    )


def _key(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"there is no key at {path}. Name a PEM file with an elliptic-curve key.")
    return path


def _tool(part: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"model_signing.{part}")
    except ImportError:
        raise missing_extra("signing a guard", "sign") from None


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Whatever the tool or its cryptography raises is said as one error."""
    try:
        yield
    except (InputError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001 - the tool raises errors of many libraries
        raise InputError(f"{what}: {reason(error)}.") from None
