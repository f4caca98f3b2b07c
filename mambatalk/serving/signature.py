"""Signature of a bundle: Ed25519 over `bundle.json`, which lists the SHA-256 of every other file.

The keys are PEM files:

    openssl genpkey -algorithm ed25519 -out signing-key.pem
    openssl pkey -in signing-key.pem -pubout -out public-key.pem

Registration signs with the file that `MAMBATALK_SIGNING_KEY` names. Where `MAMBATALK_PUBLIC_KEY`
names a public key, a registered model without a valid signature is refused.
"""

import base64
import binascii
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mambatalk.errors import InputError
from mambatalk.files import path_errors, read_json, sha256_file, write_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNING_KEY: Final = "MAMBATALK_SIGNING_KEY"
PUBLIC_KEY: Final = "MAMBATALK_PUBLIC_KEY"
SIGNATURE_FILE: Final = "signature.json"
_SIGNED: Final = "bundle.json"
_ALGORITHM: Final = "Ed25519"


def sign_bundle(bundle: Path, signature: Path, key: Path) -> None:
    """Sign a bundle.

    Args:
        bundle: Folder of the bundle.
        signature: File to write, outside that folder.
        key: PEM file of an Ed25519 private key without a password.

    Raises:
        InputError: The key cannot be read, or cryptography is not installed.

    """
    private = _private_key(key)
    signed = private.sign((bundle / _SIGNED).read_bytes())
    write_json(
        signature,
        {
            "algorithm": _ALGORITHM,
            "file": _SIGNED,
            "sha256": sha256_file(bundle / _SIGNED),
            "signature": base64.b64encode(signed).decode(),
        },
    )


def verify_bundle(bundle: Path, signature: Path, key: Path) -> None:
    """Verify the signature of a bundle. `Bundle.load` verifies the files against `bundle.json`.

    Args:
        bundle: Folder of the bundle.
        signature: File that `sign_bundle` wrote.
        key: PEM file of the Ed25519 public key.

    Raises:
        InputError: The bundle is not signed or was changed, another key signed it, the key cannot
            be read, or cryptography is not installed.

    """
    public = _public_key(key)
    if not signature.is_file():
        raise InputError(
            bundle,
            f"expected a signature, because {PUBLIC_KEY} is set, found an unsigned bundle",
            f"register the bundle with {SIGNING_KEY}, or unset {PUBLIC_KEY} to load it unverified",
        )
    from cryptography.exceptions import InvalidSignature

    try:
        signed = base64.b64decode(read_json(signature)["signature"], validate=True)
        public.verify(signed, (bundle / _SIGNED).read_bytes())
    except (InvalidSignature, binascii.Error, KeyError, TypeError):
        raise InputError(
            bundle,
            f"expected a signature by the key {key}, found an altered bundle or another key",
            "do not use this bundle; register it again, or correct the key",
        ) from None


def verify_if_configured(bundle: Path, signature: Path) -> None:
    """Verify a bundle with the key of `MAMBATALK_PUBLIC_KEY`; do nothing if that is not set.

    Raises:
        InputError: See `verify_bundle`.

    """
    key = os.environ.get(PUBLIC_KEY)
    if key:
        verify_bundle(bundle, signature, Path(key))


def _private_key(path: Path) -> "Ed25519PrivateKey":
    _require_cryptography(SIGNING_KEY)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = _load(path, lambda content: load_pem_private_key(content, password=None))
    if not isinstance(key, Ed25519PrivateKey):
        raise _wrong_key(f"{SIGNING_KEY} {path}")
    return key


def _public_key(path: Path) -> "Ed25519PublicKey":
    _require_cryptography(PUBLIC_KEY)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = _load(path, load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise _wrong_key(f"{PUBLIC_KEY} {path}")
    return key


def _load(path: Path, load: Callable[[bytes], Any]) -> Any:
    """Return the key in a PEM file; None if it holds none."""
    from cryptography.exceptions import UnsupportedAlgorithm

    with path_errors(path, expected="a readable key file"):
        content = path.read_bytes()
    try:
        return load(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The error could quote the content of the file.
        return None


def _wrong_key(where: str) -> InputError:
    return InputError(
        where,
        f"expected a PEM file of an {_ALGORITHM} key without a password, found another file",
        "make a pair of keys as docs/operations.md shows",
    )


def _require_cryptography(where: str) -> None:
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError:
        raise InputError(
            where,
            "expected the package cryptography, which signatures need, found none",
            "pip install cryptography",
        ) from None
