"""With a public key configured, only a bundle that its private key signed is loaded."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mambatalk.errors import InputError
from mambatalk.serving.registered import BUNDLE_FOLDER, load_registered
from mambatalk.serving.signature import PUBLIC_KEY, SIGNATURE_FILE, sign_bundle
from tests.helpers.tiny_bundle import tiny_bundle


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}-public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    tiny_bundle().save(folder / BUNDLE_FOLDER)
    return folder


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    private, public = write_keys(tmp_path, "ours")
    monkeypatch.setenv(PUBLIC_KEY, str(public))
    return private, public


def sign(model: Path, key: Path) -> None:
    sign_bundle(model / BUNDLE_FOLDER, model / SIGNATURE_FILE, key)


def test_a_signed_bundle_loads(model: Path, keys: tuple[Path, Path]) -> None:
    sign(model, keys[0])
    assert load_registered(model).window == 64


def test_without_a_key_nothing_is_verified(model: Path) -> None:
    assert PUBLIC_KEY not in os.environ
    assert load_registered(model).window == 64


def test_an_unsigned_bundle_is_refused(model: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="because MAMBATALK_PUBLIC_KEY is set, found an unsigned"):
        load_registered(model)


def test_a_bundle_that_another_key_signed_is_refused(
    model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    sign(model, write_keys(tmp_path, "theirs")[0])
    with pytest.raises(InputError, match="found an altered bundle or another key"):
        load_registered(model)


def test_another_valid_bundle_is_refused(model: Path, keys: tuple[Path, Path]) -> None:
    sign(model, keys[0])
    tiny_bundle(1).save(model / BUNDLE_FOLDER)
    with pytest.raises(InputError, match="found an altered bundle or another key"):
        load_registered(model)


def test_changed_weights_are_refused(model: Path, keys: tuple[Path, Path]) -> None:
    sign(model, keys[0])
    weights = model / BUNDLE_FOLDER / "face.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match=r"face\.safetensors: expected sha256"):
        load_registered(model)


@pytest.mark.parametrize("content", ['{"signature": 1}', "[]", "{}", '{"signature": "%"}', "no"])
def test_a_damaged_signature_is_refused(model: Path, keys: tuple[Path, Path], content: str) -> None:
    (model / SIGNATURE_FILE).write_text(content)
    with pytest.raises(InputError, match="found an altered bundle|found invalid JSON"):
        load_registered(model)


def test_a_file_that_is_not_a_key_is_refused_without_showing_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(
        generate_private_key(SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    with pytest.raises(InputError, match="expected a PEM file of an Ed25519 key"):
        sign(model, other)
    other.write_text("correct horse battery staple")
    monkeypatch.setenv(PUBLIC_KEY, str(other))
    with pytest.raises(InputError, match="expected a PEM file of an Ed25519 key") as caught:
        load_registered(model)
    assert "staple" not in str(caught.value)


def test_a_missing_key_file_is_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PUBLIC_KEY, str(tmp_path / "nowhere.pem"))
    with pytest.raises(InputError, match=r"nowhere\.pem: expected a readable key file"):
        load_registered(model)
